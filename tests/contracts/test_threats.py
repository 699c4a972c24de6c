"""The laws of a threat; one row in `rows.THREATS` admits a new one."""

from __future__ import annotations

from math import inf

import pytest
import torch

from hauberk.ops.random import generator
from hauberk.threat import Threat
from hauberk.threats import L1, L2, Linf
from tests.contracts.rows import THREATS

every_threat = pytest.mark.parametrize("threat", THREATS, ids=str)
every_wide_threat = pytest.mark.parametrize(  # of more than one point
    "threat", [threat for threat in THREATS if threat.radius()], ids=str
)
on_devices = pytest.mark.parametrize("device", ["cpu"] + ["cuda"] * torch.cuda.is_available())


def _images(device: str = "cpu") -> torch.Tensor:
    x = torch.rand(8, 2, 3, 3, generator=generator(0)).to(device)
    x[0], x[1] = 0.0, 1.0  # saturated images: the box matters
    return x


def _far(x: torch.Tensor, seed: int, spread: float = 1.0) -> torch.Tensor:
    return x + spread * torch.randn(x.shape, generator=generator(seed)).to(x)


@every_threat
@on_devices
def test_projection_is_inside_and_stays(threat: Threat, device: str) -> None:
    x = _images(device)
    for spread in (1e-3, 0.1, 1.0, 100.0):
        p = threat.project(_far(x, 1, spread), x)
        assert threat.contains(p, x)
        assert p.min() >= 0 and p.max() <= 1
        assert (p.shape, p.dtype, p.device) == (x.shape, x.dtype, x.device)
        torch.testing.assert_close(threat.project(p, x), p, rtol=0, atol=2e-6)
    assert torch.equal(threat.project(x, x), x)


@every_threat
def test_no_feasible_point_is_nearer(threat: Threat) -> None:
    x = _images().double()
    v = _far(x, 2)
    gap = (threat.project(v, x) - v).flatten(1).norm(dim=1)
    for trial in range(60):
        start = v if trial % 2 else threat.project(v, x)
        other = threat.project(_far(start, 100 + trial, 2.0 ** -(trial % 12)), x)
        assert (gap <= (other - v).flatten(1).norm(dim=1) + 1e-12).all()


@every_wide_threat
@on_devices
def test_sample_is_random_and_inside(threat: Threat, device: str) -> None:
    x, rng = _images(device), generator(3)
    first, second = threat.sample(x, rng), threat.sample(x, rng)
    assert threat.contains(first, x) and threat.contains(second, x)
    assert not torch.equal(first, second) and not torch.equal(first, x)
    assert torch.equal(first, threat.sample(x, generator(3)))


@every_wide_threat
def test_steepest_beats_random_directions(threat: Threat) -> None:
    grad = torch.randn(6, 1, 3, 3, generator=generator(4), dtype=torch.float64)
    grad[0] *= 1e-200
    grad[1, 0, 0] = 0
    step = threat.steepest(grad)
    unit = threat.scaled(1 / threat.radius())
    middle = torch.full_like(grad, 0.5)
    assert unit.contains((middle + step / 2).clamp(0, 1), middle)
    gain = (grad * step).flatten(1).sum(1)
    trials = torch.randn(100, 2, *grad.shape, generator=generator(5), dtype=grad.dtype)
    trials[:, 0] = grad + 0.1 * trials[:, 0] * grad.abs()
    other = threat.steepest(trials.flatten(0, 2)).reshape(200, *grad.shape)
    assert (gain >= (grad * other).flatten(2).sum(2) * (1 - 1e-12)).all()


@every_wide_threat
@pytest.mark.parametrize("sharpness", [0.6, 2.0])
def test_a_soft_step_maximises_its_own_problem(threat: Threat, sharpness: float) -> None:
    grad = torch.randn(6, 1, 3, 3, generator=generator(4), dtype=torch.float64)
    grad[0] *= 1e-200
    grad[1, 0, 0] = 0
    scaled = sharpness * grad / grad.abs().mean((1, 2, 3), keepdim=True)
    half = threat.scaled(0.5 / threat.radius())
    middle = torch.full_like(grad, 0.5)

    def gain(d: torch.Tensor) -> torch.Tensor:
        return (scaled * d - 0.5 * d * d).flatten(-3).sum(-1)

    best = gain(threat.steepest(grad, sharpness))
    size = 2.0 ** -(torch.arange(200) % 8).double().view(200, 1, 1, 1, 1)
    other = torch.randn(200, *grad.shape, generator=generator(5), dtype=grad.dtype) * size
    middles = middle.repeat(200, 1, 1, 1)
    point = middles + ((scaled + other) / 2).flatten(0, 1)
    feasible = 2 * (half.project(point, middles) - middles)
    assert (best >= gain(feasible.reshape(other.shape)) - 1e-12).all()


@every_threat
@pytest.mark.parametrize("sharpness", [inf, 0.6])
def test_steepest_of_nothing_is_nothing(threat: Threat, sharpness: float) -> None:
    zero = torch.zeros(2, 1, 3, 3)
    assert torch.equal(threat.steepest(zero, sharpness), zero)


@every_threat
def test_scaled_reaches_that_far(threat: Threat) -> None:
    assert threat.scaled(0.5).radius() == pytest.approx(0.5 * threat.radius())
    assert type(threat.scaled(0.5)) is type(threat)
    x = _images()
    assert torch.equal(threat.scaled(0.0).project(_far(x, 6), x), x)


@every_wide_threat
def test_outside_is_seen(threat: Threat) -> None:
    x = _images() * 0.5 + 0.25
    beyond = x + 1.01 * threat.radius()
    assert not threat.contains(beyond, x)
    assert not threat.contains(torch.full_like(x, torch.nan), x)
    assert not threat.contains(x - 1, x)


def test_names() -> None:
    assert (str(Linf(0.3)), str(L2(2)), str(L1(12))) == ("linf:0.3", "l2:2", "l1:12")


@pytest.mark.parametrize("kind", [Linf, L2, L1])
@pytest.mark.parametrize("eps", [-0.1, float("nan"), float("inf")])
def test_radius_is_checked(kind: type[Linf] | type[L2] | type[L1], eps: float) -> None:
    with pytest.raises(ValueError, match=r"radius eps was given as .*; give one that is"):
        kind(eps)


def test_grey_levels_are_not_pixel_units() -> None:
    with pytest.raises(ValueError, match="8/255"):
        Linf(8)
