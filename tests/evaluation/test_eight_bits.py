"""Attacks at images of eight bits, and the search for a decoy between their levels."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import masks
from torch import nn

from hauberk.attacks import PGD
from hauberk.dataset import Examples
from hauberk.evaluation import Subject, under_attack
from hauberk.evaluation.bypass import Bypass
from hauberk.evaluation.eight_bits import notices_grid, on_grid, ways_to_ask
from hauberk.ops.pixel_levels import nearest, on_levels, toward
from hauberk.threat import Threat
from hauberk.threats import L1, L2, Linf


def between(net: nn.Module) -> nn.Module:
    """A net whose answers between the levels are those of coarse images: few steps change them."""
    return masks.OffGrid(net, masks.Masked(net, before=masks.levels(4)))


@pytest.mark.parametrize("threat", [Linf(0.1), Linf(8 / 255), L2(0.5), L1(2.0)])
def test_points_rounded_towards_the_image_stay_inside(threat: Threat) -> None:
    rng = torch.Generator().manual_seed(0)
    x = nearest(torch.rand(50, 1, 8, 8, generator=rng))
    z = toward(threat.sample(x, rng), x)
    assert on_levels(z) and threat.contains(z, x)
    assert torch.equal(toward(x, x), x)
    if threat == Linf(8 / 255):  # a corner is an image of eight bits itself
        corner = (x + 8 / 255).clamp(max=1)
        assert torch.allclose(toward(corner, x), corner)


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.5)])
def test_a_decoy_between_the_levels_hides_nothing(
    honest: nn.Module, examples: Examples, threat: Threat
) -> None:
    few = examples.first(24)
    subject = Subject.of(between(honest), few, threat)
    truth = under_attack(Subject.of(honest, few, threat), PGD(50, track=True))
    assert int(under_attack(subject, PGD(20, track=True)).sum()) > int(truth.sum()) + 10
    for attack in (Bypass(first=True), Bypass(own=True, eight_bits=True)):
        assert int(attack(subject).sum()) <= int(truth.sum()) + 1


def test_it_is_asked_both_ways(honest: nn.Module, examples: Examples) -> None:
    subject = Subject.of(between(honest), examples.first(32), Linf(0.1))
    assert notices_grid(subject)
    grid, itself = ways_to_ask(subject)
    assert grid.eight_bits and grid.threat == Linf(25 / 255) and itself is subject


def test_an_honest_net_is_asked_at_images_of_eight_bits_of_the_whole_radius(
    honest: nn.Module, examples: Examples
) -> None:
    subject = Subject.of(honest, examples.first(32), Linf(25 / 255))
    assert not notices_grid(subject)
    assert [way.eight_bits for way in ways_to_ask(subject)] == [True]
    assert [way.eight_bits for way in ways_to_ask(subject.within(Linf(0.1)))] == [False]
    assert on_grid(subject.within(Linf(0.001))) is None
    assert ways_to_ask(subject.within(Linf(1.5 / 255))) == (subject.within(Linf(1.5 / 255)),)


def test_a_verdict_at_eight_bits_is_of_an_image_inside(
    honest: nn.Module, examples: Examples
) -> None:
    subject = on_grid(Subject.of(honest, examples.first(8), L2(0.5)))
    assert subject is not None
    places = torch.arange(8)
    far = subject.examples.images().flip(0)
    assert torch.equal(subject.withstands(far, places), torch.ones(8, dtype=torch.bool))
