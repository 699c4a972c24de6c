"""The laws of an attack; one row in `rows.ATTACKS` admits a new one."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hauberk.attack import Attack, frozen
from hauberk.attacks import PGD
from hauberk.threat import Threat
from tests.contracts.rows import ATTACKS, THREATS


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
    )


def _inputs() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    x = torch.rand(6, 1, 8, 8, generator=rng)
    x[0], x[1] = 0.0, 1.0  # saturated images: the box matters
    return x, torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_stays_inside_and_never_helps(attack: Attack, threat: Threat) -> None:
    net, (x, y) = _net().eval(), _inputs()

    def loss(images: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(net(images), y, reduction="none")

    x_adv = attack(loss, x, threat, torch.Generator().manual_seed(2))
    assert x_adv.shape == x.shape and x_adv.dtype == x.dtype
    assert threat.contains(x_adv, x)
    assert not x_adv.requires_grad
    assert (loss(x_adv) >= loss(x) - 1e-6).all()


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_leaves_the_model_untouched(attack: Attack) -> None:
    net, (x, y) = _net(), _inputs()
    net[4].weight.requires_grad_(False)
    before = copy.deepcopy(net.state_dict())
    with frozen(net):
        assert not net.training
        attack(
            lambda z: F.cross_entropy(net(z), y, reduction="none"), x, THREATS[0], torch.Generator()
        )
    assert all(module.training for module in net.modules())
    assert all(p.grad is None for p in net.parameters())
    assert [p.requires_grad for p in net.parameters()] == [True, True, True, True, False, True]
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_equal_generators_give_equal_attacks(attack: Attack) -> None:
    net, (x, y) = _net().eval(), _inputs()

    def run(seed: int) -> torch.Tensor:
        rng = torch.Generator().manual_seed(seed)
        return attack(lambda z: F.cross_entropy(net(z), y, reduction="none"), x, THREATS[0], rng)

    assert torch.equal(run(3), run(3))


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_asks_about_points_of_the_threat_unless_it_comes_from_outside(
    attack: Attack, threat: Threat
) -> None:
    net, (x, y) = _net().eval(), _inputs()
    asked: list[torch.Tensor] = []

    def loss(images: torch.Tensor) -> torch.Tensor:
        asked.append(images.detach().clone())
        return F.cross_entropy(net(images), y, reduction="none")

    attack(loss, x, threat, torch.Generator().manual_seed(2))
    parts = threat.parts()
    larger = [s.radius() / part.radius() for part in parts for s in part.approach(1)]
    outside = threat.scaled(max(larger, default=1.0))
    assert all(outside.contains(images, x) for images in asked)


@pytest.mark.parametrize("threat", [t for t in THREATS if t.parts() == (t,)], ids=str)
@pytest.mark.parametrize("attack", [PGD(12, track=True), PGD(7, falling=True, track=True)], ids=str)
def test_pieces_walk_the_whole_path(attack: PGD, threat: Threat) -> None:
    net, (x, y) = _net().eval(), _inputs()
    ways: list[list[torch.Tensor]] = [[], []]

    def walk(pieces: Sequence[Attack], way: list[torch.Tensor]) -> torch.Tensor | None:
        def loss(images: torch.Tensor) -> torch.Tensor:
            way.append(images.detach().clone())
            return F.cross_entropy(net(images), y, reduction="none")

        rng, end = torch.Generator().manual_seed(2), None
        for piece in pieces:
            end = piece(loss, x, threat, rng, end)
        return end

    whole = walk([replace(attack, track=False)], ways[0])
    end = walk(attack.pieces(threat), ways[1])
    assert len(ways[0]) == attack.steps
    one = len(attack.pieces(threat)) == 1  # which tracks by itself
    kept = ways[1][1:-1] if one else ways[1]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(ways[0], kept, strict=True))
    if not one:
        assert whole is not None and end is not None and torch.allclose(whole, end, atol=1e-6)
