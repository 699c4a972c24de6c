"""ℓ1: where several pixels share a step, and how its random points spread."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hauberk.ops.random import generator
from hauberk.threats import L1


@given(st.integers(1, 170), st.integers(0, 50), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_steepest_step_is_shared_by_the_largest(n: int, seed: int, tied: bool) -> None:
    """No point of ``‖d‖₁ ≤ 1, ‖d‖_∞ ≤ 1/k`` gains more; that set's corners are tried."""
    rng = generator(seed)
    grad = torch.randn(3, n, generator=rng, dtype=torch.float64)
    if tied:
        grad = grad.round()
    k = min(n, 3)
    step = L1(3.4).steepest(grad)
    assert (step.abs().sum(1) <= 1 + 1e-12).all() and (step.abs() <= 1 / k + 1e-12).all()
    gain = (step * grad).sum(1)
    for _ in range(30):
        chosen = torch.randperm(n, generator=rng)[:k]
        assert (gain >= grad[:, chosen].abs().sum(1) / k - 1e-12).all()
    torch.testing.assert_close(gain, grad.abs().sort(dim=1).values[:, n - k :].sum(1) / k)


@pytest.mark.parametrize("sharpness", [0.02, 0.6])
def test_a_soft_step_shared_by_several_maximises_its_own_problem(sharpness: float) -> None:
    n, k = 250, 5
    grad = torch.randn(4, n, generator=generator(1), dtype=torch.float64)
    scaled = sharpness * grad / grad.abs().mean(1, keepdim=True)

    def gain(d: torch.Tensor) -> torch.Tensor:
        return (scaled * d - 0.5 * d * d).sum(1)

    step = L1(5.0).steepest(grad, sharpness)
    assert (step.abs().sum(1) <= 1 + 1e-9).all() and (step.abs() <= 1 / k + 1e-9).all()
    best = gain(step)
    assert (best >= gain(L1(5.0).steepest(grad, inf)) - 1e-12).all()
    for trial in range(200):
        other = step + 2.0 ** -(trial % 10) * torch.randn(4, n, generator=generator(2, trial))
        capped = other.clamp(-1 / k, 1 / k)
        feasible = capped / capped.abs().sum(1, keepdim=True).clamp_min(1)
        assert (best >= gain(feasible) - 1e-12).all()


def test_random_points_are_uniform_in_the_ball() -> None:
    """Inside of the box: P(‖δ‖₁ ≤ r · eps) = rⁿ, and no sign or pixel is preferred."""
    x = torch.full((20000, 4), 0.5, dtype=torch.float64)
    delta = L1(0.3).sample(x, generator(0)) - x
    reach = delta.abs().sum(1) / 0.3
    for r in (0.5, 0.7, 0.9):
        assert float((reach <= r).double().mean()) == pytest.approx(r**4, abs=0.015)
    assert delta.mean(0).abs().max() < 0.003
    assert delta.abs().mean(0).std() < 0.001


def test_a_step_goes_to_pixels_that_may_move() -> None:
    """The largest gradients point out of the box: without care, no step would go anywhere."""
    x = torch.full((1, 1, 5, 10), 0.5)
    x[0, 0, 0], x[0, 0, 1] = 0.0, 1.0
    grad = torch.full_like(x, 0.1)
    grad[0, 0, 0], grad[0, 0, 1], grad[0, 0, 2, 3] = -9.0, 9.0, -0.2
    step = L1(1.0).step(grad, x)
    assert step.nonzero().tolist() == [[0, 0, 2, 3]] and float(step.sum()) == -1.0
    assert torch.equal(L1(1.0).step(-grad, x).nonzero(), L1(1.0).steepest(grad).nonzero())
    nowhere = torch.zeros_like(x)
    assert torch.equal(L1(1.0).step(torch.full_like(x, -1.0), nowhere), nowhere)
