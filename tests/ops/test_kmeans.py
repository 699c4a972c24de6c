"""1-D k-means with zero fixed: every assignment tried, an exact solver, Lloyd from many starts."""

from __future__ import annotations

from itertools import product

import kmeans1d
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hauberk.ops.kmeans import kmeans


def _error(w: torch.Tensor, q: torch.Tensor) -> float:
    return float((w.double() - q.double()).square().sum())


def _by_trying_all(values: list[float], k: int) -> float:
    """The least error over all (k + 1)ⁿ assignments, class 0 being zero."""
    labels = np.array(list(product(range(k + 1), repeat=len(values))))
    v = np.array(values)
    error = ((labels == 0) * v**2).sum(1)
    for c in range(1, k + 1):
        mine = labels == c
        mean = (mine * v).sum(1) / np.maximum(mine.sum(1), 1)
        error += (mine * (v - mean[:, None]) ** 2).sum(1)
    return float(error.min())


def _at_least(v: NDArray[np.float32], k: int) -> float:
    """A lower bound, near the optimum: zero is pulled to its place by many zeros, not pinned."""
    alive = v[v != 0].astype(np.float64)
    x = np.concatenate([alive, np.zeros(3 * len(alive))])
    labels, centroids = kmeans1d.cluster(x, k + 1)
    return float(((x - np.array(centroids)[np.array(labels)]) ** 2).sum())


def _lloyd(v: NDArray[np.float32], k: int, seed: int) -> float:
    alive = v[v != 0].astype(np.float64)
    c = np.append(0.0, np.random.default_rng(seed).choice(alive, k, replace=False))
    for _ in range(100):
        labels = np.abs(alive[:, None] - c).argmin(1)
        sums, counts = (np.bincount(labels, weights=x, minlength=k + 1) for x in (alive, None))
        c = np.where((counts > 0) & (np.arange(k + 1) > 0), sums / np.maximum(counts, 1), c)
        c[0] = 0.0
    return float((np.abs(alive[:, None] - c).min(1) ** 2).sum())


def _samples(kind: str, n: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(7)
    normal = rng.normal(size=n)
    cut = np.where(np.abs(normal) > 1.2, normal, 0.0)
    return {
        "normal": normal,
        "heavy tails": rng.standard_t(2, size=n),
        "pruned": cut,
        "one-sided": np.abs(cut),
        "two scales": np.append(cut[: n // 2], rng.normal(5, 0.01, size=n // 2)),
        "rounded": np.round(normal, 1),
        "outlier": np.append(normal, 1e4),
    }[kind].astype(np.float32)


KINDS = ["normal", "heavy tails", "pruned", "one-sided", "two scales", "rounded", "outlier"]


@given(
    values=st.lists(
        st.sampled_from([0.0, 1.0, -1.0, 0.5]) | st.floats(-4, 4, width=32), max_size=7
    ),
    k=st.integers(1, 3),
)
@settings(max_examples=150, deadline=None)
def test_no_assignment_is_better(values: list[float], k: int) -> None:
    w = torch.tensor(values, dtype=torch.float64)
    q = kmeans(w, k)
    assert len(set(q[q != 0].tolist())) <= k
    assert not q[w == 0].any()
    assert _error(w, q) == pytest.approx(_by_trying_all(values, k), rel=1e-9, abs=1e-12)
    assert torch.equal(kmeans(q, k), q)


@pytest.mark.parametrize(
    ("kind", "k"),
    [
        *product(KINDS, [16, 100]),
        *(pytest.param(kind, 256, marks=pytest.mark.slow) for kind in ("pruned", "two scales")),
    ],
)
def test_within_a_thousandth_or_two_of_the_optimum(kind: str, k: int) -> None:
    v = _samples(kind, 4000)
    w = torch.from_numpy(v)
    q = kmeans(w, k)
    assert len(set(q[q != 0].tolist())) <= k
    assert _error(w, q) <= 1.002 * _at_least(v, k) + 1e-9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [3, 12])
def test_no_start_of_lloyd_ends_lower(kind: str, k: int) -> None:
    v = _samples(kind, 1500)
    w = torch.from_numpy(v)
    best = min(_lloyd(v, k, seed) for seed in range(12))
    assert _error(w, kmeans(w, k)) <= best * (1 + 1e-4)


@pytest.mark.parametrize("k", [2000, 4096])
def test_many_values(k: int) -> None:
    v = _samples("pruned", 60_000)
    w = torch.from_numpy(v)
    q = kmeans(w, k)
    assert len(torch.unique(q[q != 0])) <= k
    # the asymptotic optimum, (∫ f^⅓)³ / 12 k² per weight, taken on a fine histogram
    alive = np.abs(v[v != 0]).astype(np.float64)
    density, edges = np.histogram(alive, bins=60, density=True)
    ideal = len(alive) * (2 * np.cbrt(density / 2) @ np.diff(edges)) ** 3 / (12 * k**2)
    assert _error(w, q) <= 1.15 * ideal
    assert torch.equal(kmeans(q, k), q)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_every_type(dtype: torch.dtype) -> None:
    w = torch.from_numpy(_samples("normal", 3000)).view(30, 100).to(dtype)
    q = kmeans(w, 16)
    assert (q.dtype, q.shape) == (w.dtype, w.shape)
    assert len(set(q[q != 0].tolist())) <= 16
    assert torch.equal(kmeans(q, 16), q)
    assert _error(w, q) <= 1.02 * _at_least(w.float().numpy(), 16)


def test_a_small_weight_becomes_zero() -> None:
    assert kmeans(torch.tensor([0.1, 1.0]), 1).tolist() == [0.0, 1.0]


def test_extreme_magnitudes() -> None:
    w = torch.tensor([1e300, 1.0, -1e300, 1e-300, 5e299], dtype=torch.float64)
    assert kmeans(w, 2).tolist() == [7.5e299, 0.0, -1e300, 0.0, 7.5e299]


@pytest.mark.parametrize("shape", [(0,), (3, 0), (4,)])
def test_nothing_to_do(shape: tuple[int, ...]) -> None:
    w = torch.zeros(shape)
    assert torch.equal(kmeans(w, 4), w)


def test_large_tensors_take_the_fast_path() -> None:
    w = torch.randn(300_000, generator=torch.Generator().manual_seed(0))
    q = kmeans(w, 16)
    # the optimal quantiser of a normal with 17 levels has error 0.0084 (Max 1960)
    assert 0.0083 < _error(w, q) / len(w) < 0.0086
    assert torch.equal(kmeans(q, 16), q)
