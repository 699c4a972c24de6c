"""Projections onto ball ∩ box, against a bisection in float64 that shares nothing with them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hauberk.ops import balls
from hauberk.ops.balls import project_l1, project_l2, project_linf

Project = Callable[[Tensor, Tensor, float], Tensor]
_pixel = st.sampled_from([0.0, 1.0, 0.5]) | st.floats(0, 1, width=32)
_number = st.sampled_from([0.0, 1.0, -1.0, 2.0]) | st.floats(-4, 5, width=32)


def _moved(v: Tensor, x: Tensor, multiplier: float | Tensor, p: int) -> Tensor:
    """The Lagrangian's minimiser for a fixed multiplier, coordinate by coordinate."""
    d = v - x
    d = d / (1 + multiplier) if p == 2 else d.sign() * (d.abs() - multiplier).clamp_min(0)
    return (x + d).clamp(0, 1)


def _by_bisection(v: Tensor, x: Tensor, eps: float, p: int) -> Tensor:
    low, high = 0.0, 1e7
    if (_moved(v, x, 0, p) - x).norm(p) <= eps:
        return _moved(v, x, 0, p)
    for _ in range(90):  # from 1e7 to below the last digit
        middle = (low + high) / 2
        inside = (_moved(v, x, middle, p) - x).norm(p) <= eps
        low, high = (low, middle) if inside else (middle, high)
    return _moved(v, x, high, p)


@pytest.mark.parametrize(("project", "p"), [(project_l1, 1), (project_l2, 2)])
@given(
    pairs=st.lists(st.tuples(_number, _pixel), min_size=1, max_size=12),
    eps=st.sampled_from([0.0, 1e-3, 1.0]) | st.floats(0.01, 6),
)
@settings(max_examples=150, deadline=None)
def test_is_the_bisection(
    project: Project, p: int, pairs: list[tuple[float, float]], eps: float
) -> None:
    v, x = torch.tensor(pairs, dtype=torch.float64).T.contiguous()
    # a second example in the batch must not disturb the first
    found = project(torch.stack([v, x + 9]), torch.stack([x, x]), eps)
    torch.testing.assert_close(found[0], _by_bisection(v, x, eps, p), rtol=0, atol=1e-6)
    assert (found[0] - x).norm(p) <= eps + 1e-12


@given(pairs=st.lists(st.tuples(_number, _pixel), min_size=1, max_size=12), eps=st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_linf_is_coordinatewise(pairs: list[tuple[float, float]], eps: float) -> None:
    v, x = torch.tensor(pairs, dtype=torch.float64).T.contiguous()
    found = project_linf(v[None], x[None], eps)[0]
    for got, a, b in zip(found.tolist(), v.tolist(), x.tolist(), strict=True):
        low, high = max(0.0, b - eps), min(1.0, b + eps)
        assert got == min(max(a, low), high)


@pytest.mark.parametrize(
    ("project", "p", "eps"),
    [(project_linf, float("inf"), 0.1), (project_l2, 2, 1.5), (project_l1, 1, 12.0)],
)
def test_image_batches_in_float32(project: Project, p: float, eps: float) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(16, 3, 16, 16, generator=rng)
    v = x + torch.randn(x.shape, generator=rng) * torch.logspace(-3, 2, 16).view(-1, 1, 1, 1)
    found = project(v, x, eps)
    exact = project(v.double(), x.double(), eps)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=2e-6)
    assert found.dtype == torch.float32
    assert found.min() >= 0 and found.max() <= 1
    assert ((found - x).flatten(1).norm(p, dim=1) <= eps * (1 + 1e-4)).all()
    assert torch.equal(found[0], v[0].clamp(0, 1)) or (v[0] - x[0]).norm(p) > eps


@pytest.mark.parametrize("n", [1, 2, 5, 12, 60])
@pytest.mark.parametrize("spread", [0.01, 0.3, 1.75])
def test_many_random_rows_in_l1_are_the_bisection(n: int, spread: float) -> None:
    """Newton's step may lead from an end of what is known to the other, and back."""
    rng = torch.Generator().manual_seed(n)
    x = torch.rand(3000, n, generator=rng, dtype=torch.float64)
    v = x + spread * torch.randn(x.shape, generator=rng, dtype=torch.float64)
    eps = 0.1 * n * spread
    found = project_l1(v, x, eps)
    low, high = torch.zeros(3000, 1, dtype=torch.float64), (v - x).abs().amax(1, keepdim=True)
    for _ in range(60):
        middle = (low + high) / 2
        inside = (_moved(v, x, middle, 1) - x).abs().sum(1, keepdim=True) <= eps
        low, high = torch.where(inside, low, middle), torch.where(inside, middle, high)
    out = (v.clamp(0, 1) - x).abs().sum(1, keepdim=True) > eps
    expected = torch.where(out, _moved(v, x, high, 1), v.clamp(0, 1))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_l1_ends_in_a_few_steps_where_the_box_fills_the_ball(monkeypatch) -> None:
    """As in each soft step: around grey, k coordinates that the box stops are all of eps."""
    looks = []
    beyond = balls._Hinges.beyond
    monkeypatch.setattr(
        balls._Hinges, "beyond", lambda self, lam: looks.append(1) or beyond(self, lam)
    )
    for k in (1, 3, 8):
        x = torch.full((500, 64), 0.5)
        v = x + 0.5 * k * torch.randn(x.shape, generator=torch.Generator().manual_seed(k))
        looks.clear()
        found = project_l1(v, x, 0.5 * k)
        assert len(looks) / 2 < 30, "all rows, and two looks a step"
        torch.testing.assert_close((found - x).abs().sum(1), torch.full((500,), 0.5 * k))


@pytest.mark.parametrize("project", [project_l1, project_l2, project_linf])
def test_the_centre_is_kept_exactly(project: Project) -> None:
    x = torch.rand(4, 1, 5, 5)
    assert torch.equal(project(x, x, 0.3), x)
    assert torch.equal(project(x + 1, x, 0.0), x)
    assert project(x[:0], x[:0], 0.3).shape == (0, 1, 5, 5)


@pytest.mark.parametrize("project", [project_l1, project_l2, project_linf])
def test_what_is_no_number_stays_none_and_disturbs_no_neighbour(project: Project) -> None:
    x = torch.full((2, 1, 2, 2), 0.5)
    v = x + torch.tensor([[3.0, 1.0], [-2.0, 0.1]])
    alone = project(v[:1], x[:1], 0.3)
    v[1, 0, 0, 0] = float("nan")
    found = project(v, x, 0.3)
    assert torch.equal(found[0], alone[0]) and found[1].isnan().any()
