"""A gallery of masked nets: each is named by a check, and its headline is that of the bare net."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.helpers import masks
from tests.helpers.judging import ASK, EFFORT, SLACK, THREAT, N, exported, only
from tests.helpers.masks import Masked, inner, levels
from torch import nn

import hauberk as hb
from hauberk.artifact import ArtifactError
from hauberk.attacks import PGD
from hauberk.dataset import Examples
from hauberk.evaluation import Subject, under_attack

pytestmark = pytest.mark.slow

Mask = Callable[[nn.Module], nn.Module]


@pytest.fixture(autouse=True)
def small_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hauberk.evaluation.search.USUAL", EFFORT)


@pytest.fixture(scope="module")
def truth(honest: nn.Module, examples: Examples) -> float:
    """What is left of the bare net."""
    subject = Subject.of(honest, examples.first(N), THREAT)
    return float(under_attack(subject, PGD(100, track=True), restarts=3).double().mean())


def decoy(net: nn.Module) -> nn.Module:
    """Answers like the net, without a slope."""
    return Masked(net, before=levels(4))


MASKS: dict[str, Mask] = {
    "rounded input": lambda net: Masked(net, before=levels(16)),
    "purified input": lambda net: Masked(net, before=masks.purified),
    "quantised activations": lambda net: inner(net, 3, levels(4)),
    "stepped activations": lambda net: inner(net, 3, masks.stairs),
    "detached": lambda net: Masked(net, before=lambda x: x.detach()),
    "reversed": lambda net: Masked(net, before=masks.reversed_gradient),
    "scrambled": lambda net: Masked(net, before=masks.scrambled_gradient),
    "nan gradient": lambda net: Masked(net, before=masks.nan_slope),
    "switched gradient": lambda net: Masked(net, before=masks.switched),
    "huge logits": lambda net: Masked(net, after=lambda z: 1e6 * z),
    "tiny logits": lambda net: Masked(net, after=lambda z: 1e-30 * z),
    "infinite logits": lambda net: Masked(net, after=masks.infinite),
    "temperature": lambda net: Masked(net, after=lambda z: (1e3 * z).softmax(1)),
    "one-hot answers": lambda net: Masked(net, after=masks.one_hot),
    "plateau with a lead": lambda net: Masked(net, after=masks.plateau),
    "shattered": lambda net: Masked(net, before=masks.shattered),
    "k winners": lambda net: inner(net, 3, masks.winners),
    "between the levels": lambda net: masks.OffGrid(net, decoy(net)),
    "gradient mode": lambda net: masks.GradMode(net, decoy(net)),
    "outside of torch": masks.Numpy,
    "constant for noise": masks.Constant,
}


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_is_named_and_hides_nothing(name: str, honest: nn.Module, truth: float) -> None:
    row = only(hb.evaluate(MASKS[name](honest), "digits", **ASK))
    failed = [check.name for check in row.checks if check.passed is False]
    assert failed, row.checks
    assert row.clean.accuracy > 0.8
    assert row.robust.accuracy <= truth + SLACK, (
        row.robust.accuracy,
        truth,
        row.taken,
    )
    lost = sum(taken.count for taken in row.taken.values())
    assert lost == row.clean.successes - row.robust.successes


@pytest.mark.parametrize("mask", [masks.Noisy, masks.Dropping, masks.Mates])
def test_what_is_no_function_of_one_image_is_refused(mask: Mask, honest: nn.Module) -> None:
    with pytest.raises(ValueError, match="one_function"):
        hb.evaluate(mask(honest), "digits", **ASK)


def test_noise_is_judged_by_its_mean(honest: nn.Module, truth: float) -> None:
    row = only(hb.evaluate(masks.Noisy(honest, 0.05), "digits", draws=8, **{**ASK, "limit": 20}))
    assert row.clean.accuracy > 0.8 and row.robust.accuracy <= truth + 0.15


@pytest.mark.parametrize(
    "name", ["rounded input", "quantised activations", "temperature", "huge logits"]
)
def test_a_masked_file_hides_nothing(
    name: str, honest: nn.Module, truth: float, tmp_path: Path
) -> None:
    row = only(hb.evaluate(exported(MASKS[name](honest), tmp_path / "m.onnx"), "digits", **ASK))
    assert row.white_box and row.robust.accuracy <= truth + SLACK
    named = any(check.passed is False for check in row.checks)
    assert named or name in ("rounded input", "quantised activations")  # its replay hides nothing


def test_a_file_with_tensors_of_unknown_size_is_refused(honest: nn.Module, tmp_path: Path) -> None:
    """Such as a plateau's, whose work has no bound."""
    path = exported(Masked(honest, after=masks.plateau), tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match="unknown size"):
        hb.evaluate(path, "digits", **ASK)
