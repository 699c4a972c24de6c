"""The whole tree's largest scores, against a sort."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hauberk.ops.topk import cut_smallest, keep_largest

_scores = st.lists(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, float("inf"), -float("inf")])
    | st.floats(-3, 3, width=32)
)


def _by_sorting(scores: dict[str, Tensor], keep: int) -> dict[str, list[bool]]:
    ranked = sorted(
        (-float(v), name, i) for name, s in scores.items() for i, v in enumerate(s.flatten())
    )
    chosen = {(name, i) for _, name, i in ranked[:keep]}
    return {n: [(n, i) in chosen for i in range(s.numel())] for n, s in scores.items()}


@given(a=_scores, b=_scores, c=_scores, keep=st.integers(-1, 30))
@settings(max_examples=200, deadline=None)
def test_is_the_head_of_a_stable_sort(
    a: list[float], b: list[float], c: list[float], keep: int
) -> None:
    scores = {"b": torch.tensor(b), "a": torch.tensor(a), "c": torch.tensor(c)}
    masks = keep_largest(scores, keep)
    found = {name: mask.tolist() for name, mask in masks.items()}
    assert list(masks) == list(scores)
    assert found == _by_sorting(scores, max(keep, 0))


@pytest.mark.parametrize("levels", [1, 2, 3, 50, 100_000])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.5, 0.999])
def test_large_trees_with_ties(levels: int, share: float) -> None:
    rng = torch.Generator().manual_seed(levels)
    flat = torch.randint(levels, (200_000,), generator=rng).float()
    scores = {"b": flat[:70_000].view(700, 100), "c": flat[70_000:150_000], "a": flat[150_000:]}
    keep = int(share * len(flat))
    masks = keep_largest(scores, keep)
    # the same order of ties: names sorted, then the flat index
    ordered = torch.cat([scores[name].flatten() for name in "abc"])
    expected = torch.zeros_like(ordered, dtype=torch.bool)
    expected[ordered.sort(descending=True, stable=True).indices[:keep]] = True
    assert torch.equal(torch.cat([masks[name].flatten() for name in "abc"]), expected)


def test_the_sample_may_mislead() -> None:
    # every sampled place is zero, everything else is not: the bracket misses on purpose
    for sign in (1, -1):
        scores = sign * torch.arange(1.0, 400_001)
        scores[:: 400_000 // (1 << 13)] = 0
        for keep in (1, 100_000, 391_000, 399_999):
            mask = keep_largest({"a": scores}, keep)["a"]
            assert int(mask.sum()) == keep
            assert scores[mask].min() >= scores[~mask].max()


def test_a_sparse_tree_keeps_its_support() -> None:
    scores = torch.zeros(300_000)
    scores[torch.arange(0, 300_000, 97)] = 1e-40  # subnormal, and still more than nothing
    alive = scores > 0
    assert torch.equal(keep_largest({"a": scores}, int(alive.sum()))["a"], alive)


def test_mixed_types_are_compared_exactly() -> None:
    scores = {"a": torch.tensor([1.0]), "b": torch.tensor([1.0 + 1e-12], dtype=torch.float64)}
    assert not keep_largest(scores, 1)["a"]


def test_nan_has_no_rank() -> None:
    with pytest.raises(ValueError, match="'b' hold NaN"):
        keep_largest({"a": torch.ones(3), "b": torch.tensor([0.0, torch.nan])}, 2)


def test_nothing_in_nothing_out() -> None:
    assert keep_largest({}, 3) == {}
    assert keep_largest({"a": torch.ones(0, 4)}, 1)["a"].shape == (0, 4)


def _by_masks(w: dict[str, Tensor], keep: int, scales: dict[str, float]) -> dict[str, Tensor]:
    alive = keep_largest({name: t.abs() * scales[name] for name, t in w.items()}, keep)
    return {name: torch.where(alive[name], t, 0) for name, t in w.items()}


def _assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert list(one) == list(other)
    for name, t in one.items():
        assert torch.equal(t, other[name]), name
        assert t.dtype == other[name].dtype


@given(
    a=st.lists(st.floats(-3, 3, width=32)),
    b=st.lists(st.sampled_from([0.0, -0.0, 0.5, -0.5, 1e-40, 2.0])),
    keep=st.integers(-1, 12),
    scale=st.sampled_from([1e-20, 0.3, 1.0, 1e30]),
)
@settings(max_examples=200, deadline=None)
def test_cutting_is_masking(a: list[float], b: list[float], keep: int, scale: float) -> None:
    w = {"b": torch.tensor(b), "a": torch.tensor(a), "empty": torch.ones(0, 2)}
    scales = {"a": 1.0, "b": scale, "empty": 1.0}
    _assert_same(cut_smallest(w, keep, scales), _by_masks(w, keep, scales))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("share", [0.001, 0.02, 0.24, 0.5])
def test_cutting_large_trees_is_masking(dtype: torch.dtype, share: float) -> None:
    rng = torch.Generator().manual_seed(0)
    kernel = torch.randn(64, 32, 5, 5, generator=rng).to(dtype)
    w = {
        "wide": (torch.randn(300, 400, generator=rng) * 7).to(dtype),
        "kernel": kernel.contiguous(memory_format=torch.channels_last),
        "slanted": torch.randn(200, 300, generator=rng).to(dtype).T,
        "ties": torch.randint(-3, 4, (50_000,), generator=rng).to(dtype),
    }
    scales = {"wide": 1 / 7, "kernel": 1.0, "slanted": 0.2, "ties": 0.7}
    keep = int(share * sum(t.numel() for t in w.values()))
    cut = cut_smallest(w, keep, scales)
    _assert_same(cut, _by_masks(w, keep, scales))
    assert sum(int(t.count_nonzero()) for t in cut.values()) == keep


@pytest.mark.parametrize("seen", [0.0, 1e6])
def test_cutting_where_the_sample_misleads(seen: float) -> None:
    w = {"a": torch.arange(1.0, 400_001)}
    w["a"][:: 400_000 // (1 << 13)] = seen
    for keep in (1, 5_000, 90_000):
        _assert_same(cut_smallest(w, keep, {"a": 1.0}), _by_masks(w, keep, {"a": 1.0}))
