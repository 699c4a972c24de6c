"""The way from outside into an ℓ1 ball."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hauberk.attacks import PGD
from hauberk.dataset import Examples
from hauberk.evaluation import Subject, under_attack
from hauberk.ops.random import generator
from hauberk.threats import L1, Linf


def loss(x: Tensor) -> Tensor:
    """The first twelve pixels do least until they have gone halfway, and then most."""
    shy, others = x.flatten(1).split(12, dim=1)
    return 10 * (shy - 0.5).relu().sum(1) + 0.05 * shy.sum(1) + 0.1 * others.sum(1)


def test_what_few_pixels_do_when_they_go_all_the_way_is_found_from_outside() -> None:
    x, threat = torch.zeros(6, 1, 4, 6), L1(4.0)
    plain = PGD(40, approach=0.0)(loss, x, threat, generator(0))
    found = PGD(40)(loss, x, threat, generator(0))
    assert threat.contains(plain, x) and threat.contains(found, x)
    assert (loss(plain) < 6).all() and (loss(found) > 18).all()  # four of the shy do 20


@pytest.mark.parametrize("attack", [PGD(6), PGD(5, track=True), PGD(40, track=True)], ids=str)
def test_a_search_ends_in_the_set_and_only_what_is_in_it_counts(attack: PGD) -> None:
    class Wary(nn.Module):
        """Wrong as soon as anything leaves the ball."""

        def forward(self, x: Tensor) -> Tensor:
            moved = (x - 0.5).flatten(1).abs().sum(1)
            asked.append(float(moved.detach().max()))
            return torch.stack([2.01 - moved, moved - 2.01], 1)

    asked: list[float] = []
    ten = Examples(torch.full((10, 1, 6, 6), 0.5), torch.zeros(10, dtype=torch.long))
    assert under_attack(Subject.of(Wary(), ten, L1(2.0)), attack).all()
    assert max(asked) > 4, "it came from outside"


def test_where_nothing_asks_for_it_no_step_comes_from_outside() -> None:
    x = torch.full((3, 1, 4, 4), 0.5)

    def ways(threat: Linf | L1, **settings: object) -> list[Tensor]:
        return [
            PGD(8, approach=share, **settings)(loss_of_few, x, threat, generator(1))
            for share in (0.0, 0.5)
        ]

    def loss_of_few(z: Tensor) -> Tensor:
        return (z.flatten(1) * torch.arange(16)).sum(1)

    for first, second in (
        ways(Linf(0.1)),
        ways(L1(1.0), step_size=0.1),
        ways(L1(1.0), random_start=False),
    ):
        assert torch.equal(first, second)
    with pytest.raises(ValueError, match=r"approach=1.5; give a fraction"):
        PGD(8, approach=1.5)


def test_a_set_of_one_point_has_one_leg_and_what_is_found_is_the_input() -> None:
    x, point = torch.rand(4, 3), Linf(0.0)
    attack = PGD(40, track=True)
    assert attack.pieces(point) == (attack,)
    assert torch.equal(attack(lambda z: z.sum(1), x, point, torch.Generator()), x)
