"""The lasso and the group lasso: gradients, prox and factors by hand."""

from __future__ import annotations

import pytest
import torch
from tests.helpers.qp import no_data
from torch import Tensor, nn

from hauberk.batch import Batch
from hauberk.constraints import NofM, Sparsity
from hauberk.ops.groups import Block, Channel, Column, Filter, Grouping, Weight
from hauberk.penalties import GroupLasso, Lasso, TiedPenalty
from hauberk.problem import Loss, Objective, Problem
from hauberk.solvers import Descent, ProjectedGradient
from hauberk.training.loop import solve
from hauberk.training.run import Run
from hauberk.training.stage import Stage
from hauberk.types import Weights

PLAIN = ProjectedGradient(Descent(lr=0.1, average=0.0, clip=1e6, ramp=0.0, adaptive=False))


def tree(*shape: int, seed: int = 0) -> Weights:
    rng = torch.Generator().manual_seed(seed)
    return {"w": torch.randn(*shape, generator=rng)}


def mean(t: Tensor) -> Tensor:
    return t.abs().mean()


def test_the_gradient_is_p_times_the_sign() -> None:
    """A norm without a graph would have none."""
    w, at = tree(4, 6), tree(4, 6, seed=1)
    w["w"].requires_grad_()
    penalty = Lasso.reweighted(0.7, at, {"w": 3.0}, 0.1)
    penalty.value(w).backward()
    p = 1 / (3 * at["w"].abs() + 0.1)
    torch.testing.assert_close(w["w"].grad, 0.7 * p * w["w"].detach().sign())


def test_the_groups_gradient_is_p_times_the_direction() -> None:
    w, at = tree(4, 6), tree(4, 6, seed=1)
    w["w"].requires_grad_()
    GroupLasso.reweighted(0.7, Filter(), at, {"w": 3.0}, 0.1).value(w).backward()
    norms = at["w"].norm(dim=1)
    p = 6**0.5 / ((3 * norms) ** 2 + 0.1)
    unit = w["w"].detach() / w["w"].detach().norm(dim=1, keepdim=True)
    torch.testing.assert_close(w["w"].grad, 0.7 * p[:, None] * unit)


def _rows(t: Tensor, groups: Grouping) -> list[Tensor]:
    """The groups of an 4 × 4 × 2 × 1 kernel, one by one, without `Split`."""
    if isinstance(groups, Filter):
        return [t[i] for i in range(4)]
    if isinstance(groups, Channel):
        return [t[:, i] for i in range(4)]
    if isinstance(groups, Column):
        return [t[:, i, j] for i in range(4) for j in range(2)]
    m = t.reshape(4, 8)
    return [m[i : i + 2, j : j + 4] for i in (0, 2) for j in (0, 4)]


@pytest.mark.parametrize(
    "groups", [Filter(), Channel(), Column(), Block(2, 4)], ids=lambda g: type(g).__name__
)
def test_groups_shrink_and_vanish_whole(groups: Grouping) -> None:
    w = tree(4, 4, 2, 1)
    before = [g.norm() for g in _rows(w["w"], groups)]
    size = _rows(w["w"], groups)[0].numel()
    less = sum(before) / len(before)  # between the smallest and the largest
    penalty = GroupLasso.static(1.0, groups, w)
    after = _rows(penalty.prox(w, float(less) / size**0.5)["w"], groups)
    expected = torch.stack([(b - less).clamp_min(0) for b in before])
    torch.testing.assert_close(torch.stack([g.norm() for g in after]), expected)
    assert 0 < int((expected == 0).sum()) < len(before)
    total = sum(size**0.5 * b for b in before)
    torch.testing.assert_close(penalty.value(w), total)


def test_what_has_no_factor_is_free() -> None:
    w = {**tree(3, 3), "bias": torch.ones(3)}
    for penalty in (Lasso.static(9.0, tree(3, 3)), GroupLasso.static(9.0, Filter(), tree(3, 3))):
        p = penalty.prox(w, 1.0)
        assert not p["w"].any() and torch.equal(p["bias"], w["bias"])
        assert float(penalty.value(w)) == float(penalty.value(tree(3, 3)))


def test_tied_rows_vanish_together() -> None:
    w = {"a": torch.ones(3, 2), "b": torch.ones(3, 4)}
    w["a"][0], w["b"][0] = 0.01, 5.0  # held up by the other tensor
    w["a"][1], w["b"][1] = 0.2, 0.2
    families = (("a", "b"),)
    joined = {"a": torch.cat([w["a"], w["b"]], 1)}
    penalty = TiedPenalty(GroupLasso.static(1.0, Filter(), joined), families)
    p = penalty.prox(w, 0.5)
    assert p["a"].any(1).tolist() == p["b"].any(1).tolist() == [True, False, True]
    torch.testing.assert_close(penalty.value(w), 6**0.5 * joined["a"].norm(dim=1).sum())


def test_with_a_cuts_scales_the_networks_scale_is_no_matter() -> None:
    w = tree(5, 5)
    w["w"][0] = 0.0

    def factors(t: Weights, groups: Grouping) -> Tensor:
        scales = Sparsity(0.4, groups).balanced(t).scales or {}
        if isinstance(groups, Weight):
            return Lasso.reweighted(1.0, t, scales, 0.1).factors["w"]
        return GroupLasso.reweighted(1.0, groups, t, scales, 0.1).factors["w"]

    for groups in (Weight(), Filter()):
        large = factors({"w": 1000 * w["w"]}, groups)
        torch.testing.assert_close(factors(w, groups), large)
        least_kept = 1 / (1 + 0.1) * groups.split(w["w"].shape).size ** 0.5
        kept = large <= least_kept * 1.0001
        assert int(kept.sum()) == Sparsity(0.4, groups).count(w), "P tells what a cut would keep"
    dead = Lasso.reweighted(1.0, {"w": torch.zeros(3)}, {"w": 7.0}, 0.25)
    assert dead.factors["w"].tolist() == [4.0] * 3


class Vector(nn.Module):
    """A model that is only a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(C))


class Separable(Objective):
    """½ ‖w − c‖², whatever the batch."""

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        return Loss(0.5 * (model.w - torch.tensor(C)).square().sum())


C = [4.0, -3.0, 0.9, 0.5, -0.3, 0.1]


@pytest.mark.slow
def test_on_a_separable_quadratic_the_known_zeros_are_reached() -> None:
    """argmin ½(w−c)² + λP|w| is the soft threshold of c; three rounds sharpen it."""
    model, eps, strength = Vector(), 0.1, 0.35
    w = torch.tensor(C, dtype=torch.float64)
    for _ in range(3):
        penalty = Lasso.reweighted(strength, {"w": model.w}, {"w": 1 / float(mean(w))}, eps)
        stage = Stage("round", Problem(Separable(), {"lasso": penalty}), PLAIN, 40, 8)
        assert solve(stage, model, no_data(), Run()).ok
        p = 1 / (w.abs() / mean(w) + eps)
        c = torch.tensor(C, dtype=torch.float64)
        w = c.sign() * (c.abs() - strength * p).clamp_min(0)
        torch.testing.assert_close(model.w.detach().double(), w, atol=1e-3, rtol=0)
        assert torch.equal(model.w.detach() == 0, w == 0)
    assert (model.w == 0).tolist() == [False, False, True, True, True, True]
    assert float(model.w.detach()[0]) > 3.7, "what is large is let go"


@pytest.mark.slow
def test_the_static_lasso_takes_as_much_from_the_large() -> None:
    model = Vector()
    problem = Problem(Separable(), {"lasso": Lasso.static(0.95, {"w": model.w})})
    assert solve(Stage("static", problem, PLAIN, 80, 8), model, no_data(), Run()).ok
    expected = torch.tensor([3.05, -2.05, 0, 0, 0, 0])
    torch.testing.assert_close(model.w.detach(), expected, atol=1e-3, rtol=0)
    assert torch.equal(model.w.detach() == 0, expected == 0)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Lasso(-0.1, {}), "strength was given as -0.1"),
        (lambda: Lasso(float("nan"), {}), "strength was given as nan"),
        (lambda: Lasso.reweighted(1.0, {}, {}, 0.0), "eps was given as 0.0"),
        (lambda: GroupLasso.reweighted(1.0, Filter(), {}, {}, -1.0), "eps was given as -1.0"),
        (lambda: GroupLasso.static(1.0, NofM(2, 4), tree(4, 4)), "lets a part of each group live"),
    ],
)
def test_settings_that_mean_nothing_are_one_sentence(make, sentence: str) -> None:
    with pytest.raises(ValueError, match=rf"^[^\n]*{sentence}[^\n]*give[^\n]*$"):
        make()
