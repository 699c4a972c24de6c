"""Projection onto the simplex, against its KKT conditions and every support."""

from __future__ import annotations

from itertools import combinations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hauberk.ops.simplex import project_simplex


def _by_trying_supports(v: torch.Tensor) -> torch.Tensor:
    best, nearest = torch.inf, v
    for size in range(1, len(v) + 1):
        for support in combinations(range(len(v)), size):
            index = list(support)
            p = torch.zeros_like(v)
            p[index] = v[index] - (v[index].sum() - 1) / size
            if p.min() >= -1e-12 and (p - v).norm() < best:
                best, nearest = float((p - v).norm()), p
    return nearest


@given(st.lists(st.sampled_from([0.0, 1.0, 0.5]) | st.floats(-5, 5), min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_no_support_is_better(values: list[float]) -> None:
    v = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(project_simplex(v), _by_trying_supports(v), rtol=0, atol=1e-9)


def test_rows_are_independent_and_feasible() -> None:
    v = 10 * torch.randn(5, 3, 40, generator=torch.Generator().manual_seed(0))
    p = project_simplex(v)
    torch.testing.assert_close(p.sum(-1), torch.ones(5, 3))
    assert p.min() >= 0
    torch.testing.assert_close(p[2, 1], project_simplex(v[2, 1]))
    torch.testing.assert_close(project_simplex(p), p, rtol=0, atol=1e-6)


def test_large_numbers_lose_no_digits() -> None:
    assert project_simplex(torch.tensor([1e6, 1e6 - 0.5, 0.0])).tolist() == [0.75, 0.25, 0.0]
