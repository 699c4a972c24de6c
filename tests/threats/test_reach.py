"""Radii in grey levels, met when the images are known."""

from __future__ import annotations

import pytest
from tests.helpers.nets import mlp, toy

import hauberk as hb
from hauberk.threats.reach import check_reach
from hauberk.threats.union import Union


@pytest.mark.parametrize(
    "threat", [hb.L2(128.0), hb.L2(6.1), hb.L1(5000.0), Union((hb.L1(3.0), hb.L2(9.0)))]
)
def test_a_radius_beyond_every_image_is_refused(threat: hb.Threat) -> None:
    with pytest.raises(ValueError, match=r"radius eps was given as .* farther apart than 6|36"):
        hb.compress(mlp(), toy(), threat=threat)
    with pytest.raises(ValueError, match="in pixel units of"):
        hb.evaluate(mlp(), toy(), threat=threat, attack="pgd:1", checks=False)


@pytest.mark.parametrize("threat", [hb.Linf(1.0), hb.L2(6.0), hb.L1(36.0)])
def test_the_largest_radius_is_allowed(threat: hb.Threat) -> None:
    check_reach(threat, (1, 6, 6), "toy")
