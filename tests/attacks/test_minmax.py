"""One perturbation against several domains: the laws of the weights, and each kind of domain."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
import torch
from tests.contracts import rows
from torch import Tensor, nn
from torch.nn import functional as F

import hauberk as hb
from hauberk.attacks import (
    PGD,
    LogitLoss,
    MinMaxPGD,
    brighter,
    cross_entropy,
    ensemble,
    flipped,
    hinge,
    in_one_unit,
    margin,
    perturbation,
    rotated,
    shifted,
    transformed,
    unchanged,
    universal,
)
from hauberk.ops.random import generator
from hauberk.threat import Threat

THREATS = [threat for threat in rows.THREATS if threat.radius()]
LOSSES = [pytest.param(cross_entropy, id="ce"), pytest.param(hinge(), id="margin 0")]


def nets(count: int) -> list[nn.Module]:
    found = []
    for seed in range(count):
        torch.manual_seed(seed)
        layers = (nn.Flatten(), nn.Linear(64, 20), nn.Tanh(), nn.Linear(20, 4))
        found.append(nn.Sequential(*layers).eval().requires_grad_(False))
    return found


def inputs(n: int = 8) -> tuple[Tensor, Tensor]:
    x = torch.rand(n, 1, 8, 8, generator=generator(1))
    x[0], x[1] = 0.0, 1.0  # saturated images: the box matters
    return x, torch.arange(n) % 4


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("loss", LOSSES)
def test_it_stays_inside_and_is_a_function_of_its_seed(threat: Threat, loss: LogitLoss) -> None:
    x, y = inputs()
    told = ensemble(nets(3), y, loss)
    found = MinMaxPGD(6)(told, x, threat, generator(2))
    assert threat.contains(found.x, x) and not found.x.requires_grad
    assert found.weights.min() >= 0
    torch.testing.assert_close(found.weights.sum(1), torch.ones(8))
    torch.testing.assert_close(found.losses, told(found.x))
    assert torch.equal(found.x, MinMaxPGD(6)(told, x, threat, generator(2)).x)


@pytest.mark.parametrize("rate", [0.1, 10.0, inf])
def test_equal_domains_keep_equal_weights(rate: float) -> None:
    x, y = inputs()
    net = nets(1)[0]
    found = MinMaxPGD(5, rate=rate, gamma=0.1)(ensemble([net] * 3, y), x, THREATS[0], generator(2))
    torch.testing.assert_close(found.weights, torch.full((8, 3), 1 / 3))
    alone = MinMaxPGD(5)(ensemble([net], y), x, THREATS[0], generator(2))
    torch.testing.assert_close(found.losses[:, :1], alone.losses)


def test_a_large_gamma_is_the_average_attack() -> None:
    x, y = inputs()
    told = ensemble(nets(3), y)
    search = MinMaxPGD(6, rate=3.0, gamma=1e9)
    stiff = search(told, x, THREATS[0], generator(2))
    average = search.averaged()(told, x, THREATS[0], generator(2))
    torch.testing.assert_close(stiff.x, average.x, rtol=0, atol=1e-5)
    assert torch.equal(average.weights, torch.full((8, 3), 1 / 3))
    free = MinMaxPGD(6, rate=3.0, gamma=0.0)(told, x, THREATS[0], generator(2))
    assert not torch.allclose(free.x, average.x, atol=1e-3), "the weights change nothing"


def test_weights_that_wait_leave_the_average_attack_where_they_begin_to_move() -> None:
    x, y = inputs()
    told = ensemble(nets(3), y, hinge())
    paths = list[list[Tensor]]()
    search = MinMaxPGD(8, rate=3.0, gamma=0.0)
    waits = (search.averaged(), replace(search, wait=0.5), replace(search, wait=1.0), search)
    for way in waits:
        seen: list[Tensor] = []

        def watched(v: Tensor, seen: list[Tensor] = seen) -> Tensor:
            seen.append(v.detach().clone())
            return told(v)

        way(watched, x, THREATS[0], generator(2))
        paths.append(seen)
    average, half, whole, none = (torch.stack(path) for path in paths)
    assert torch.equal(whole, average)
    assert torch.equal(half[:5], average[:5]) and not torch.equal(half[5], average[5])
    assert not torch.equal(none[2], average[2]), "without a wait they move from the second step"


def test_the_average_attack_is_pgd_on_the_mean() -> None:
    x, y = inputs()
    told = ensemble(nets(3), y)
    seen: list[Tensor] = []

    def mean(z: Tensor) -> Tensor:
        seen.append(z.detach().clone())
        return told(z).mean(1)

    PGD(6)(mean, x, THREATS[1], generator(2))
    ours: list[Tensor] = []

    def watched(z: Tensor) -> Tensor:
        ours.append(z.detach().clone())
        return told(z)

    MinMaxPGD(6).averaged()(watched, x, THREATS[1], generator(2))
    for a, b in zip(seen, ours, strict=False):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("rate", [1e9, inf])
def test_without_gamma_a_large_step_is_one_hot_on_what_is_fooled_least(rate: float) -> None:
    x, y = inputs()
    found = MinMaxPGD(6, rate=rate, gamma=0.0)(ensemble(nets(4), y), x, THREATS[0], generator(2))
    expected = F.one_hot(found.losses.argmin(1), 4).float()
    moved = (found.weights != 0.25).any(1)  # a start that stayed the best has equal weights
    assert moved.sum() >= 4
    torch.testing.assert_close(found.weights[moved], expected[moved])


@pytest.mark.slow
def test_the_saddle_point_of_two_lines_is_found() -> None:
    """max_v min(v, 1 − 3v) = 1/4 at v = 1/4; the average of the two goes to the end instead."""

    def losses(v: Tensor) -> Tensor:
        flat = v.flatten(1).mean(1)
        return torch.stack([flat, 1 - 3 * flat], 1)

    x = torch.full((3, 1, 1, 1), 0.4)
    search = MinMaxPGD(400, rate=0.5, gamma=0.0, step_size=0.002, random_start=False)
    found = search(losses, x, THREATS[2], generator(0))
    torch.testing.assert_close(found.x, torch.full_like(x, 0.25), rtol=0, atol=0.005)
    average = search.averaged()(losses, x, THREATS[2], generator(0))
    assert (average.losses.amin(1) <= found.losses.amin(1) + 1e-6).all()
    path: list[float] = []

    def watched(v: Tensor) -> Tensor:
        path.append(float(v.detach()[0]))
        return losses(v)

    search.averaged()(watched, x, THREATS[2], generator(0))
    assert path[-1] == 0.0


@pytest.mark.parametrize("loss", LOSSES)
def test_the_least_fooled_network_is_fooled_more_than_by_the_average(loss: LogitLoss) -> None:
    x, _ = inputs(60)
    four = nets(4)
    y = four[0](x).argmax(1)
    told = ensemble(four, y, loss)
    search = MinMaxPGD(30, rate=1.0, gamma=0.2)
    least = {
        name: float(s(told, x, THREATS[0], generator(3)).losses.amin(1).mean())
        for name, s in (("min-max", search), ("average", search.averaged()))
    }
    assert least["min-max"] > least["average"]


def test_a_network_that_is_fooled_asks_for_nothing_more() -> None:
    logits = torch.tensor([[3.0, 1.0], [1.0, 3.0]], requires_grad=True)
    y = torch.tensor([0, 0])
    assert margin(logits, y).tolist() == [-2.0, 2.0]
    assert hinge()(logits, y).tolist() == [-2.0, 0.0]
    assert hinge(1.5)(logits, y).tolist() == [-2.0, 1.5]
    (grad,) = torch.autograd.grad(hinge()(logits, y).sum(), logits)
    assert grad.tolist() == [[-1.0, 1.0], [0.0, 0.0]]


class Times(nn.Module):
    """A network whose logits are larger, which is right and wrong where it was."""

    def __init__(self, net: nn.Module, factor: float) -> None:
        super().__init__()
        self.net, self.factor = net, factor

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.factor * self.net(x)
        return logits


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_in_one_unit_the_scale_of_a_network_s_logits_is_no_matter(threat: Threat) -> None:
    x, y = inputs()
    one, two = nets(2)
    given = [one, Times(one, 9.0), two]
    same = in_one_unit(given, x, y, threat)
    for model, before in zip(same, given, strict=True):
        assert torch.equal(model(x).argmax(1), before(x).argmax(1))
    torch.testing.assert_close(same[0](x), same[1](x))
    found = MinMaxPGD(6, gamma=0.0)(ensemble(same, y, margin), x, threat, generator(2))
    torch.testing.assert_close(found.weights[:, 0], found.weights[:, 1])
    raw = MinMaxPGD(6, gamma=0.0)(ensemble(given, y, margin), x, threat, generator(2))
    assert not torch.allclose(raw.weights[:, 0], raw.weights[:, 1]), "this test cannot fail"


def test_the_unit_is_the_distance_in_the_threat_s_norm() -> None:
    """For two linear networks: after it, margins fall equally fast, at the mean of both rates."""
    x, y = torch.full((5, 2), 0.5), torch.zeros(5, dtype=torch.long)
    linear = []
    for row in ([3.0, -1.0], [0.5, 0.0]):
        net = nn.Linear(2, 2)
        net.weight.data = torch.tensor([row, [0.0, 0.0]])
        linear.append(net)
    for threat, rates in ((hb.Linf(0.1), (4.0, 0.5)), (hb.L2(0.1), (10**0.5, 0.5))):
        scaled = [model.scale.item() for model in in_one_unit(linear, x, y, threat)]
        mean = sum(rates) / 2
        assert scaled == pytest.approx([mean / rate for rate in rates])


def test_a_network_without_a_gradient_is_left_as_it_is() -> None:
    x, y = inputs()
    flat = Times(nets(1)[0], 0.0)
    assert in_one_unit([flat, nets(1)[0]], x, y, THREATS[0])[0].scale == 1


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_one_perturbation_for_all_inputs(threat: Threat) -> None:
    x, y = inputs()
    net = nets(1)[0]
    delta, found = perturbation(MinMaxPGD(8), net, x, y, threat, generator(4))
    assert delta.shape == (1, 1, 8, 8) and found.weights.shape == (1, 8)
    grey = torch.full_like(delta, 0.5)
    assert threat.scaled(0.5).contains(grey + delta / 2, grey), "δ is in the ball"
    moved = (x + delta).clamp(0, 1)
    torch.testing.assert_close(found.losses[0], cross_entropy(net(moved), y))
    assert found.losses.amin() > cross_entropy(net(x), y).amin()


def test_a_pixel_that_is_clipped_still_says_where_it_wants_to_go() -> None:
    net, (x, y) = nets(1)[0], inputs()
    grey = torch.full((1, 1, 8, 8), 0.2).requires_grad_()  # δ = −0.6: most pixels are black
    (grad,) = torch.autograd.grad(universal(net, x, y)(grey).sum(), grey)
    moved = (x - 0.6).clamp(0, 1).requires_grad_()
    (each,) = torch.autograd.grad(cross_entropy(net(moved), y).sum(), moved)
    torch.testing.assert_close(grad, 2 * each.sum(0, keepdim=True))


def test_transformations_are_what_they_say_and_differentiable() -> None:
    x, _ = inputs()
    assert torch.equal(flipped(flipped(x)), x) and torch.equal(flipped(x), x.flip(-1))
    assert torch.equal(shifted(2, -3)(x)[..., 2:, :5], x[..., :6, 3:])
    assert not shifted(2, -3)(x)[..., :2, :].any() and not shifted(2, -3)(x)[..., 5:].any()
    torch.testing.assert_close(rotated(0)(x), x)
    torch.testing.assert_close(rotated(90)(x), x.rot90(1, (-2, -1)), rtol=0, atol=1e-5)
    wide = torch.rand(2, 3, 6, 12, generator=generator(0))
    torch.testing.assert_close(rotated(180)(wide), wide.flip((-1, -2)), rtol=0, atol=1e-5)
    assert torch.equal(brighter(0.5)(x), x / 2) and brighter(3.0)(x).max() == 1
    for turn in (unchanged, flipped, shifted(1, 1), rotated(20), brighter(0.7)):
        point = (0.2 + 0.6 * torch.rand(2, 1, 5, 5, generator=generator(1))).double()
        assert turn(point).shape == point.shape
        assert turn(point).min() >= 0 and turn(point).max() <= 1
        assert torch.autograd.gradcheck(turn, point.requires_grad_())


def test_an_image_that_fools_however_it_is_turned() -> None:
    x, _ = inputs(40)
    net = nets(1)[0]
    y = net(x).argmax(1)
    turns = [unchanged, flipped, shifted(1, 0), rotated(15), brighter(0.8)]
    told = transformed(net, y, turns)
    found = MinMaxPGD(25)(told, x, THREATS[0], generator(5))
    assert found.losses.shape == (40, 5)
    plain = PGD(25)(lambda z: cross_entropy(net(z), y), x, THREATS[0], generator(5))
    assert found.losses.amin(1).mean() > told(plain).amin(1).mean()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: MinMaxPGD(gamma=-1.0), "gamma was given as -1.0"),
        (lambda: MinMaxPGD(rate=0.0), "rate of the weights was given as 0.0"),
        (lambda: MinMaxPGD(0), "steps=0; give 1"),
        (lambda: MinMaxPGD(reach=-1.0), "reach=-1.0"),
        (lambda: MinMaxPGD(step_size=0.0), "step_size=0.0"),
        (lambda: MinMaxPGD(wait=1.5), "wait=1.5"),
        (lambda: ensemble([], torch.zeros(1).long()), "no network; give at least one"),
        (lambda: transformed(nn.Identity(), torch.zeros(1).long(), []), "was given none"),
        (lambda: hinge(-50.0), "margin was given as -50.0"),
        (lambda: brighter(-0.1), "brightness was given as -0.1"),
    ],
)
def test_what_means_nothing_is_one_sentence(make, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        make()
    assert "\n" not in str(caught.value)
