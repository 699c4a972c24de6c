"""A budget in bytes: what is met, what is used, what is refused."""

from __future__ import annotations

import itertools

import pytest
import torch

from hauberk.artifact.cost import bits, price
from hauberk.constraints import ByteBudget, Codec
from hauberk.ops.kmeans import kmeans
from hauberk.types import Weights

CODEC = Codec(bits, price)


def tree(seed: int = 0) -> Weights:
    g = torch.Generator().manual_seed(seed)
    shapes = {"conv": (16, 8, 3, 3), "fc": (64, 128), "b": (64,)}
    scales = {"conv": 1.0, "fc": 0.1, "b": 1.0}
    return {n: scales[n] * torch.randn(s, generator=g) ** 3 for n, s in shapes.items()}


def error(w: Weights, p: Weights, worth: dict[str, float]) -> float:
    return sum(worth.get(n, 1.0) * float((w[n] - p[n]).double().square().sum()) for n in w)


@pytest.mark.parametrize("nbytes", [200, 1000, 4000])
def test_the_budget_is_met_by_the_codec_s_length_and_used(nbytes: int) -> None:
    w, budget = tree(), ByteBudget(8 * nbytes, CODEC)
    p = budget.project(w)
    assert 0.95 * 8 * nbytes <= budget.size_bits(p) <= 8 * nbytes
    assert all(
        torch.equal(a, b) for a, b in zip(budget.project(p).values(), p.values(), strict=True)
    )


def test_the_knapsack_beats_every_uniform_choice() -> None:
    w, worth = tree(), {"conv": 1.0, "fc": 30.0, "b": 1.0}
    budget = ByteBudget(8 * 1500, CODEC, worth)
    ours = error(w, budget.project(w), worth)
    tried = []
    for share, b in itertools.product(
        [0.03, 0.05, 0.08, 0.12, 0.18, 0.25, 0.4], [1, 2, 3, 4, 5, 6]
    ):
        uniform = {}
        for name, t in w.items():
            cut = t.abs().flatten().sort(descending=True).values[max(0, int(share * t.numel()) - 1)]
            uniform[name] = kmeans(torch.where(t.abs() >= cut, t, 0), 1 << b)
        if budget.size_bits(uniform) <= budget.limit_bits:
            tried.append(error(w, uniform, worth))
    assert tried and ours < min(tried)


def test_what_an_error_costs_decides_who_gets_the_bytes() -> None:
    w = tree()
    shares = []
    for fc in (1.0, 1e4):
        p = ByteBudget(8 * 1000, CODEC, {"fc": fc}).project(w)
        shares.append(bits(p["fc"]) / sum(bits(t) for t in p.values()))
    assert shares[0] < shares[1]


def test_a_feasible_point_stays() -> None:
    w = tree()
    p = ByteBudget(8 * 10**6, CODEC).project(w)
    assert all(torch.equal(w[n], p[n]) for n in w)


def test_what_fits_nobody_names_the_least() -> None:
    with pytest.raises(ValueError, match=r"one weight in each layer takes .*give a larger size"):
        ByteBudget(8 * 3, CODEC).project(tree())


@pytest.mark.parametrize(("limit", "most"), [(0, 8), (8, 0), (8, 9)])
def test_budgets_that_mean_nothing_are_refused(limit: int, most: int) -> None:
    with pytest.raises(ValueError, match="give"):
        ByteBudget(limit, CODEC, {}, most)
