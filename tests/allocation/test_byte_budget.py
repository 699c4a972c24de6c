"""A budget in bytes: what is met, what is used, what is refused."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator

import pytest
import torch
from tests.helpers.command import anchors
from tests.helpers.nets import toy
from torch import nn

from hauberk.allocation.byte_budget import ByteBudget, Codec
from hauberk.allocation.costs import FileCosts, round_half
from hauberk.allocation.forms import HbkForm
from hauberk.artifact.lengths import bits, price
from hauberk.ops.kmeans import kmeans
from hauberk.types import Weights
from hauberk.verbs.compress import shipped

CODEC = Codec(bits, price)


@pytest.fixture(autouse=True, scope="module")
def all_anchors() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        anchors(patch, 12)
        yield


def tree(seed: int = 0) -> Weights:
    g = torch.Generator().manual_seed(seed)
    shapes = {"conv": (16, 8, 3, 3), "fc": (64, 128), "b": (64,)}
    scales = {"conv": 1.0, "fc": 0.1, "b": 1.0}
    return {n: scales[n] * torch.randn(s, generator=g) ** 3 for n, s in shapes.items()}


def error(w: Weights, p: Weights) -> float:
    """``−Σ log cos²``."""
    cosines = [torch.cosine_similarity(w[n].flatten(), p[n].flatten(), 0).double() for n in w]
    return -2 * float(torch.stack(cosines).log().sum())


@pytest.mark.slow
@pytest.mark.parametrize("nbytes", [200, 1000, 4000])
def test_the_budget_is_met_by_the_codec_s_length_and_used(nbytes: int) -> None:
    w, budget = tree(), ByteBudget(8 * nbytes, CODEC)
    p = budget.project(w)
    assert 0.95 * 8 * nbytes <= budget.size_bits(p) <= 8 * nbytes
    assert all(
        torch.equal(a, b) for a, b in zip(budget.project(p).values(), p.values(), strict=True)
    )


@pytest.mark.slow
def test_the_knapsack_beats_every_uniform_choice() -> None:
    w = tree()
    budget = ByteBudget(8 * 1500, CODEC)
    ours = error(w, budget.project(w))
    tried = []
    for share, b in itertools.product(
        [0.03, 0.05, 0.08, 0.12, 0.18, 0.25, 0.4], [1, 2, 3, 4, 5, 6]
    ):
        uniform = {}
        for name, t in w.items():
            cut = t.abs().flatten().sort(descending=True).values[max(0, int(share * t.numel()) - 1)]
            uniform[name] = kmeans(torch.where(t.abs() >= cut, t, 0), 1 << b)
        if budget.size_bits(uniform) <= budget.limit_bits:
            tried.append(error(w, uniform))
    assert tried and ours < min(tried)


@pytest.mark.slow
def test_the_scale_of_a_layer_is_no_matter_and_none_is_emptied() -> None:
    w = tree()
    small = {n: t * (1e-3 if n == "conv" else 1.0) for n, t in w.items()}
    budget = ByteBudget(8 * 400, CODEC)
    counts = [
        {n: int(torch.count_nonzero(t)) for n, t in budget.project(some).items()}
        for some in (w, small)
    ]
    assert counts[0] == counts[1] and min(counts[0].values()) > 1


def test_a_feasible_point_stays() -> None:
    w = tree()
    p = ByteBudget(8 * 10**6, CODEC).project(w)
    assert all(torch.equal(w[n], p[n]) for n in w)


@pytest.mark.slow
def test_what_fits_nobody_names_the_least() -> None:
    with pytest.raises(ValueError, match=r"one weight in each layer takes .*give a larger size"):
        ByteBudget(8 * 3, CODEC).project(tree())


@pytest.mark.parametrize(("limit", "most"), [(0, 8), (8, 0), (8, 9)])
def test_budgets_that_mean_nothing_are_refused(limit: int, most: int) -> None:
    with pytest.raises(ValueError, match="give"):
        ByteBudget(limit, CODEC, most)


def test_the_price_of_a_file_is_its_size() -> None:
    """Statistics of batch norm ship as float32, and are priced so."""
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(128, 3))
    net(toy().train.images())
    rounded = copy.deepcopy(net).eval()
    round_half(rounded)
    priced = FileCosts.of(net, toy().train, ["0.weight"], HbkForm(half=True)).file_bytes
    assert priced == shipped(rounded, toy()).nbytes
