"""Group views, against groups listed by hand, and sparsity against every choice of groups."""

from __future__ import annotations

from itertools import combinations, product

import pytest
import torch
from torch import Tensor

from hauberk.constraints import Sparsity
from hauberk.ops.groups import Block, Channel, Column, Filter, Grouping, NofM, Weight

SHAPE = torch.Size((2, 2, 2, 1))


def _listed(pattern: Grouping) -> list[list[tuple[int, int, int]]]:
    """Each group as its places (out, in, kernel) in a 2 × 2 × 2 weight."""
    places = list(product(range(2), repeat=3))

    def group_of(place: tuple[int, int, int]) -> object:
        o, i, k = place
        match pattern:
            case Weight():
                return place
            case Filter():
                return o
            case Column():
                return (i, k)
            case Channel():
                return i
            case Block(rows, columns):
                return (o // rows, (2 * i + k) // columns)
            case NofM(_, m):
                return (o, (2 * i + k) // m)
            case _:
                raise AssertionError(pattern)

    keys = sorted({group_of(p) for p in places}, key=repr)
    return [[p for p in places if group_of(p) == key] for key in keys]


PATTERNS = [
    Weight(),
    Filter(),
    Column(),
    Channel(),
    Block(2, 2),
    Block(1, 2),
    NofM(1, 2),
    NofM(2, 4),
    NofM(3, 4),
]


def _limit(pattern: Grouping, size: int) -> int:
    return pattern.n if isinstance(pattern, NofM) else size


def _tree(seed: int) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {name: torch.randn(SHAPE, generator=rng, dtype=torch.float64) for name in ("a", "b")}


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_scores_and_masks_are_those_of_the_listed_groups(pattern: Grouping) -> None:
    w = _tree(0)["a"]
    groups = _listed(pattern)
    cube = w.view(2, 2, 2)
    scores = pattern.scores(w).flatten()
    assert len(scores) == len(groups) == pattern.split(SHAPE).groups
    masks = []
    for j, score in enumerate(scores):
        alive = torch.zeros(len(scores), dtype=torch.bool)
        alive[j] = True
        mask = pattern.expand(alive.view(pattern.scores(w).shape), w)
        masks.append(mask)
        assert mask.shape == w.shape
        torch.testing.assert_close(w[mask].norm(), score)
        members = {tuple(p) for p in mask.view(2, 2, 2).nonzero().tolist()}
        (home,) = [g for g in groups if members <= set(g)]
        limit = _limit(pattern, len(home))
        ranked = sorted((abs(float(cube[p])) for p in home), reverse=True)
        assert sorted((abs(float(cube[p])) for p in members), reverse=True) == ranked[:limit]
    assert len({tuple(m.flatten().tolist()) for m in masks}) == len(groups)


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_no_choice_of_groups_is_nearer(pattern: Grouping, seed: int) -> None:
    w = _tree(seed)
    groups = [(name, g) for name in w for g in _listed(pattern)]
    cubes = {name: t.view(2, 2, 2) for name, t in w.items()}
    energy = [
        sum(sorted((float(cubes[n][p]) ** 2 for p in g), reverse=True)[: _limit(pattern, len(g))])
        for n, g in groups
    ]
    everything = sum(float(t.square().sum()) for t in w.values())
    for keep in range(1, len(groups) + 1):
        if len(groups) > 8 and 3 < keep < len(groups) - 2:
            continue  # C(16, 8) choices teach no more
        best = max(sum(energy[j] for j in c) for c in combinations(range(len(groups)), keep))
        p = Sparsity(keep, pattern).project(w)
        lost = sum(float((w[n] - p[n]).square().sum()) for n in w)
        assert lost == pytest.approx(everything - best, abs=1e-12)


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_tiny_groups_still_count(pattern: Grouping) -> None:
    w = _tree(1)["a"] * 1e-200  # whose squares are zero
    assert (pattern.scores(w) > 0).all()


def test_equal_entries_of_a_run_go_to_the_earlier() -> None:
    w = torch.ones(1, 4)
    kept = Sparsity(1.0, NofM(2, 4)).project({"w": w})["w"]
    assert kept.tolist() == [[1.0, 1.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("pattern", "shape"),
    [
        (Filter(), (5,)),
        (Column(), (5,)),
        (Channel(), (5,)),
        (Block(2, 2), (3, 4)),
        (Block(2, 3), (4, 4)),
        (NofM(2, 4), (4, 6)),
    ],
)
def test_a_weight_that_the_pattern_cannot_take_is_named(
    pattern: Grouping, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"'fc\.bias' cannot be pruned: "):
        Sparsity(0.5, pattern).project({"fc.bias": torch.ones(shape)})


@pytest.mark.parametrize(("n", "m"), [(0, 4), (5, 4), (-1, -1)])
def test_impossible_patterns(n: int, m: int) -> None:
    with pytest.raises(ValueError, match="NofM"):
        NofM(n, m)


def test_impossible_tiles() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Block(0, 2)
