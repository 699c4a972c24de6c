"""Early exits: what they change (nothing, in the exact form) and what they cost."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.helpers.nets import artifact_of, mlp, toy
from torch import Tensor, nn

import hauberk as hb
from hauberk.attacks import PGD
from hauberk.evaluation.exit_cost import exit_cost
from hauberk.models import EarlyExit, Ensemble, build
from hauberk.models.early_exit import gap
from hauberk.ops.random import generator
from hauberk.threats import Linf

X, Y = toy().test.images(), toy().test.y


def trained() -> Ensemble:
    method = hb.RobustBoosting(members=3, judge_steps=5).with_(epochs=3, batch_size=32, lr=0.02)
    net = hb.train(mlp(), toy(), threat=Linf(0.1), method=method).model
    assert isinstance(net, Ensemble) and len(net.members) == 3
    return net


@pytest.fixture(scope="module")
def net() -> Ensemble:
    return trained()


def attacked(net: Ensemble, x: Tensor = X) -> Tensor:
    def loss(x: Tensor) -> Tensor:
        return nn.functional.cross_entropy(net(x), Y[: len(x)], reduction="none")

    return PGD(10)(loss, x, Linf(0.1), generator(0))


def limited(net: Ensemble, factor: float) -> Ensemble:
    spreads = [factor * s for s in net.seen_spreads(torch.cat([X, attacked(net)]))]
    return Ensemble(list(net.members), net.alpha.tolist(), spreads).eval()


def test_limits_of_what_was_seen_leave_the_sum_s_answers(net: Ensemble) -> None:
    same = limited(net, 1.0)
    for x in (X, attacked(net)):
        torch.testing.assert_close(same(x).softmax(1), net(x).softmax(1))
        for number in (1, 2):
            z = same.part(number, torch.rand(50, 1, 6, 6) * 3)
            spread = (z.amax(1) - z.amin(1)) / same.alpha[number].abs()
            assert (spread <= same.spread[number - 1] * (1 + 1e-5)).all()


@pytest.mark.parametrize("factor", [1.0, 0.3, 0.05])
def test_bounded_exits_never_change_an_answer(net: Ensemble, factor: float) -> None:
    sum_ = limited(net, factor)
    early = EarlyExit.bounded(sum_).eval()
    found = []
    for x in (X, attacked(sum_), torch.rand(500, 1, 6, 6)):
        logits, used = early.run(x)
        assert torch.equal(logits.argmax(1), sum_(x).argmax(1))
        whole = used == len(sum_.members)
        torch.testing.assert_close(logits[whole], sum_(x)[whole])
        found.append(used.float().mean())
    if factor == 0.05:
        assert found[0] < 2, "nearly all exits are early where later members hardly count"


def test_an_adversarial_later_member_cannot_turn_a_settled_answer() -> None:
    """The worst member within the spread, against random first members."""
    for seed in range(20):
        torch.manual_seed(seed)
        first = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
        worst = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
        with torch.no_grad():  # as far against the first one as the limit lets it
            worst[1].weight.copy_(-1000 * first[1].weight)
            worst[1].bias.copy_(-1000 * first[1].bias)
        sum_ = Ensemble([first, worst], [1.0, 1.0], [0.5]).eval()
        early = EarlyExit.bounded(sum_)
        logits, used = early.run(X)
        assert torch.equal(logits.argmax(1), sum_(X).argmax(1))
        so_far = first(X)
        turned = sum_(X).argmax(1) != so_far.argmax(1)
        assert (used[turned] == 2).all() and (gap(so_far)[used == 1] > 0.5).all()


def test_calibrated_exits_keep_the_answers_they_were_calibrated_on(net: Ensemble) -> None:
    both = torch.cat([X, attacked(net)])
    early = EarlyExit.calibrated(net, both)
    assert torch.equal(early(both).argmax(1), net(both).argmax(1))
    quicker = EarlyExit.calibrated(net, both, changed=0.2)
    assert (quicker(both).argmax(1) != net(both).argmax(1)).float().mean() <= 0.2
    assert quicker.run(both)[1].sum() <= early.run(both)[1].sum()


def test_gradients_are_those_of_the_members_that_ran(net: Ensemble) -> None:
    early = EarlyExit(net, [0.0, 0.0])
    x = X.clone().requires_grad_()
    (mine,) = torch.autograd.grad(early(x)[:, 0].sum(), x)
    (first,) = torch.autograd.grad(net.part(0, x)[:, 0].sum(), x)
    assert torch.equal(mine, first)


def test_the_cost_is_counted_also_under_attacks_on_it(net: Ensemble) -> None:
    early = EarlyExit.bounded(limited(net, 0.2))
    cost = exit_cost(early, toy().test, Linf(0.1), PGD(10))
    assert cost.full == 3 * (36 * 20 + 20 * 3)
    assert cost.full / 3 <= cost.clean <= cost.delayed <= cost.full
    assert cost.attacked <= cost.full and cost.changed == 0
    assert set(cost.json()) == {"full", "clean", "attacked", "delayed", "changed"}


@pytest.mark.slow
def test_a_limited_ensemble_ships_and_exports(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    net = build("ensemble:3xlenet:1")
    assert isinstance(net, Ensemble)
    net.limit([0.02, 0.03])
    path = tmp_path / "e.hbk"
    artifact_of(net.eval(), (1, 28, 28)).save(path)
    x = torch.rand(3, 1, 28, 28)
    decoded = hb.load(path)
    assert torch.equal(decoded(x), net(x))
    made = hb.export(path)
    assert torch.allclose(made.made.session(str(made.file))(x), net(x), atol=1e-4)
    own = Ensemble([mlp(), mlp()], spreads=[0.5]).eval()
    artifact_of(own, (1, 6, 6), 3).save(path)
    assert torch.equal(hb.load(path, mlp())(X), own(X))


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda: EarlyExit(Ensemble([mlp(), mlp()]), []), "one for each member but the last"),
        (lambda: EarlyExit.bounded(Ensemble([mlp(), mlp()])), "Ensemble.limit"),
        (lambda: EarlyExit.calibrated(Ensemble([mlp(), mlp()]), X[:0]), "at least one image"),
        (lambda: EarlyExit.calibrated(Ensemble([mlp(), mlp()]), X, 1.0), r"\[0, 1\)"),
        (lambda: Ensemble([mlp(), mlp()], spreads=[0.0]), "positive number"),
        (lambda: Ensemble([mlp(), mlp()], spreads=[]), "positive number"),
        (lambda: Ensemble([mlp(), mlp()], spreads=[1.0]).grow(mlp()), "before limiting"),
    ],
)
def test_bad_exits_are_one_line(act, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        act()
    assert "\n" not in str(caught.value)
