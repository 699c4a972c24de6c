"""Projection onto the simplex, against its KKT conditions and every support."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import inf

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hauberk.ops.simplex import ascend, check_player, project_simplex


def _by_trying_supports(v: list[float]) -> list[float]:
    """The nearest of all supports' points, in rational numbers: near supports tie in float64."""
    exact = [Fraction(value) for value in v]
    candidates: list[tuple[Fraction, list[Fraction]]] = []
    for size in range(1, len(v) + 1):
        for support in combinations(range(len(v)), size):
            shift = (sum(exact[i] for i in support) - 1) / size
            p = [value - shift if i in support else Fraction(0) for i, value in enumerate(exact)]
            if min(p) >= 0:
                candidates.append((sum((a - b) ** 2 for a, b in zip(p, exact, strict=True)), p))
    return [float(value) for value in min(candidates)[1]]


@given(st.lists(st.sampled_from([0.0, 1.0, 0.5]) | st.floats(-5, 5), min_size=1, max_size=6))
@example([1.0, 5.960464477539063e-08, -3.0])
@settings(max_examples=100, deadline=None)
def test_no_support_is_better(values: list[float]) -> None:
    p = project_simplex(torch.tensor(values, dtype=torch.float64))
    best = torch.tensor(_by_trying_supports(values), dtype=torch.float64)
    torch.testing.assert_close(p, best, rtol=0, atol=1e-9)


def test_rows_are_independent_and_feasible() -> None:
    v = 10 * torch.randn(5, 3, 40, generator=torch.Generator().manual_seed(0))
    p = project_simplex(v)
    torch.testing.assert_close(p.sum(-1), torch.ones(5, 3))
    assert p.min() >= 0
    torch.testing.assert_close(p[2, 1], project_simplex(v[2, 1]))
    torch.testing.assert_close(project_simplex(p), p, rtol=0, atol=1e-6)


def test_large_numbers_lose_no_digits() -> None:
    assert project_simplex(torch.tensor([1e6, 1e6 - 0.5, 0.0])).tolist() == [0.75, 0.25, 0.0]


ROWS = st.lists(st.floats(-3, 3), min_size=2, max_size=5)
STEPS = st.sampled_from([1e-3, 0.1, 1.0, 1e3, inf])
STIFF = st.sampled_from([0.0, 0.3, 5.0, 1e6, inf])


@given(st.integers(2, 6), st.floats(-5, 5), STEPS, STIFF)
@settings(max_examples=60, deadline=None)
def test_equal_losses_keep_equal_weights(n: int, value: float, rate: float, gamma: float) -> None:
    w = torch.full((n,), 1 / n, dtype=torch.float64)
    new = ascend(w, torch.full_like(w, value), rate, gamma)
    if rate < inf or gamma:  # with neither, any vertex is a maximum
        torch.testing.assert_close(new, w, rtol=0, atol=1e-9)


@given(ROWS, STEPS)
@settings(max_examples=60, deadline=None)
def test_a_large_gamma_is_the_average(values: list[float], rate: float) -> None:
    losses = torch.tensor(values, dtype=torch.float64)
    n = len(values)
    start = project_simplex(torch.arange(n, dtype=torch.float64))
    equal = torch.full_like(losses, 1 / n)
    torch.testing.assert_close(ascend(start, losses, rate, inf), equal)
    torch.testing.assert_close(ascend(start, losses, rate, 1e9), equal, rtol=0, atol=1e-5)


@given(st.lists(st.integers(-9, 9), min_size=2, max_size=5, unique=True))
@settings(max_examples=60, deadline=None)
def test_without_gamma_a_large_step_goes_to_the_worst(values: list[int]) -> None:
    losses = torch.tensor(values, dtype=torch.float64)
    w = torch.full_like(losses, 1 / len(values))
    worst = torch.nn.functional.one_hot(losses.argmax(), len(values)).double()
    assert torch.equal(ascend(w, losses, inf, 0.0), worst)
    torch.testing.assert_close(ascend(w, losses, 10.0, 0.0), worst)


@given(ROWS, st.sampled_from([0.01, 0.3, 2.0, inf]), st.sampled_from([0.0, 0.5, 4.0]))
@settings(max_examples=60, deadline=None)
def test_no_other_weights_are_better(values: list[float], rate: float, gamma: float) -> None:
    losses = torch.tensor(values, dtype=torch.float64)
    n = len(values)
    rng = torch.Generator().manual_seed(n)
    w = torch.rand(n, generator=rng, dtype=torch.float64).softmax(0)

    def gain(p: torch.Tensor) -> torch.Tensor:
        far = ((p - 1 / n) ** 2).sum(-1), ((p - w) ** 2).sum(-1)
        return (p * losses).sum(-1) - gamma / 2 * far[0] - far[1] / (2 * rate)

    best = ascend(w, losses, rate, gamma)
    other = torch.distributions.Dirichlet(torch.full((n,), 0.5)).sample((300,)).double()
    near = project_simplex(best + 0.01 * torch.randn(300, n, generator=rng, dtype=torch.float64))
    assert (gain(best) >= gain(torch.cat([other, near])) - 1e-6).all()


def test_small_steps_end_where_one_of_any_length_does() -> None:
    """The fixed point, which the explicit step shares: ``Π(1/n + F/γ)``."""
    losses = torch.tensor([[0.3, 0.1, 0.2], [1.0, -4.0, 0.9]], dtype=torch.float64)
    w = torch.full_like(losses, 1 / 3)
    for _ in range(400):
        w = ascend(w, losses, 0.3, 0.7)
    torch.testing.assert_close(w, ascend(w, losses, inf, 0.7))
    torch.testing.assert_close(w, project_simplex(1 / 3 + losses / 0.7))
    explicit = project_simplex(w + 0.1 * (losses - 0.7 * (w - 1 / 3)))
    torch.testing.assert_close(explicit, w)


@pytest.mark.parametrize(
    ("rate", "gamma"), [(0.0, 1.0), (-1.0, 1.0), (1.0, -0.1), (1.0, float("nan"))]
)
def test_a_player_that_means_nothing_is_refused(rate: float, gamma: float) -> None:
    with pytest.raises(ValueError, match="was given as"):
        check_player(rate, gamma)
