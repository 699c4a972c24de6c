from __future__ import annotations

import logging
import sys
from types import FrameType
from typing import Any

import pytest
import torch
from tests.helpers.command import QUICK
from torch import nn

from hauberk.attacks import PGD
from hauberk.dataset import Examples
from hauberk.evaluation import Search, Subject, autoattack, clean, square, under_attack
from hauberk.evaluation.autoattack import STANDARD
from hauberk.threat import Threat
from hauberk.threats import L1, L2, Linf


@pytest.mark.slow
def test_it_is_no_weaker_than_pgd_and_leaves_no_trace(
    honest: nn.Module, examples: Examples
) -> None:
    few, world = examples.first(12), torch.get_rng_state()
    logger = logging.getLogger("auto-attack")
    state = (logger.level, logger.propagate, list(logger.handlers))
    notes: list[str] = []

    def tracer(frame: FrameType, event: str, argument: Any) -> None:
        return None

    old = sys.gettrace()
    sys.settrace(tracer)
    try:
        verdict = autoattack(
            Subject.of(honest, few, Linf(0.05)), progress=lambda *step: notes.append(step[2])
        )
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(old)
    pgd = under_attack(Subject.of(honest, few, Linf(0.05)), PGD(40))
    assert int(verdict.robust.sum()) <= int(pgd.sum()) + 1
    assert 0 < int(verdict.robust.sum()) <= int(clean(honest, few).sum())
    assert torch.equal(world, torch.get_rng_state())
    assert (logger.level, logger.propagate, logger.handlers) == state
    assert {f"AutoAttack: {k}" for k in ("apgd-ce", "apgd-t", "fab-t", "square")} == {
        n.partition(",")[0] for n in notes
    }
    assert all(p.grad is None or p.requires_grad for p in honest.parameters())


def random_task(classes: int, shape: tuple[int, ...]) -> tuple[nn.Module, Examples]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(classes)
        net = nn.Sequential(nn.Flatten(), nn.Linear(12, classes))
        x = torch.rand(6, *shape)
    return net, Examples(x, net(x).argmax(1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("classes", "threat", "shape"),
    [(2, Linf(0.05), (12,)), (3, L2(0.3), (2, 6)), (4, Linf(0.05), (2, 6)), (4, L1(0.7), (12,))],
)
@pytest.mark.usefixtures("short_autoattack")
def test_few_classes(classes: int, threat: Threat, shape: tuple[int, ...]) -> None:
    net, few = random_task(classes, shape)
    verdict = autoattack(Subject.of(net, few, threat))
    pgd = under_attack(Subject.of(net, few, threat), PGD(40))
    assert bool((verdict.robust <= pgd).all())
    instead = {2: "with 2 APGD-T did not run.", 3: "with 3 APGD-DLR ran in place of APGD-T."}
    assert [w[-len(instead.get(classes, "")) :] for w in verdict.warnings] == (
        [instead[classes]] if classes < 4 else []
    )


@pytest.mark.parametrize("threat", [Linf(0.05), L2(0.3), L1(0.7)])
@pytest.mark.parametrize("shape", [(12,), (2, 6), (3, 2, 2)])
def test_inputs_of_any_shape_are_searched(threat: Threat, shape: tuple[int, ...]) -> None:
    net, few = random_task(4, shape)
    if shape == (3, 2, 2) and not isinstance(threat, Linf):
        with pytest.raises(ValueError, match="5 rows"):
            square(Subject.of(net, few, threat))
        return
    assert len(square(Subject.of(net, few, threat, batch_size=4), queries=40)) == 6


@pytest.mark.usefixtures("short_autoattack")
def test_the_strongest_evaluation_runs_the_standard_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    net, few = random_task(4, (1, 12))
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        "hauberk.evaluation.search.autoattack",
        lambda subject, **more: asked.append(tuple(more)) or autoattack(subject, **more),
    )
    search = Search(Subject.of(net, few, Linf(0.05)), autoattack=True, effort=QUICK)
    search.run()
    assert asked == [()] and "autoattack" in search.trials.taken and not search.warnings
    assert STANDARD == ("apgd-ce", "apgd-t", "fab-t", "square")
    net, few = random_task(4, (3, 2, 2))
    search = Search(Subject.of(net, few, L2(0.3)), autoattack=True, effort=QUICK)
    search._white_box()
    assert "needs at least 5 rows" in next(iter(search.warnings))


def test_nothing_correct_means_nothing_to_attack(honest: nn.Module, examples: Examples) -> None:
    wrong = Examples(examples.x[:5], (examples.y[:5] + 1) % 10)
    correct = clean(honest, wrong)
    assert not correct.any() and not autoattack(Subject.of(honest, wrong, Linf(0.1))).robust.any()


def test_square_needs_no_gradient(honest: nn.Module, examples: Examples) -> None:
    few = examples.first(40)
    blind = nn.Sequential(Rounded(), honest)
    sees = under_attack(Subject.of(blind, few, Linf(0.15)), PGD(10, random_start=False))
    assert int(square(Subject.of(blind, few, Linf(0.15)), queries=300).sum()) < int(sees.sum())


class Rounded(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (16 * x).round() / 16


def test_other_threats_are_one_sentence(honest: nn.Module, examples: Examples) -> None:
    class Other(Threat):
        project = sample = steepest = scaled = inside = Linf.project

        def radius(self) -> float:
            return 0.1

    for attack in (autoattack, square):
        with pytest.raises(ValueError, match="knows Linf, L2 and L1"):
            attack(Subject.of(honest, examples.first(2), Other()))
