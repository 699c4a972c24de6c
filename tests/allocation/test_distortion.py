"""Measured distortion: curves through what was seen, and plans that follow them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hauberk.allocation.byte_budget import ByteBudget, Choice, Codec, angles, cut
from hauberk.allocation.distortion import Curve, Distortion
from hauberk.artifact.lengths import bits, price
from hauberk.ops.kmeans import kmeans
from hauberk.ops.topk import cut_smallest

CODEC = Codec(bits, price)
SEEN = [(0.5, 0.4), (0.1, 0.02), (0.3, 0.01), (0.0, 0.7)]


def test_a_curve_goes_through_what_was_measured_and_never_falls() -> None:
    curve = Curve.through(SEEN, 1e-3)
    assert curve(np.array([0.0, 0.1, 0.5])) == pytest.approx([0.0, 0.02, 0.4])
    grid = curve(np.linspace(0, 2, 400))
    assert (np.diff(grid) > 0).all(), "what was read lower further on was noise"


def test_nothing_is_free_and_what_is_beyond_is_steep() -> None:
    flat = Curve.through([(0.1, -0.3), (0.2, 0.0)], 0.5)
    assert flat(np.array([0.1, 0.2])) == pytest.approx([0.05, 0.1])
    curve = Curve.through(SEEN, 1e-3)
    steepest = (0.4 - curve(np.array([0.3]))[0]) / 0.2
    assert curve(np.array([1.5]))[0] == pytest.approx(0.4 + steepest)
    assert Curve.through([], 0.5)(np.array([2.0])) == pytest.approx([1.0])


def test_the_two_angles_add_up_to_the_whole_one() -> None:
    w = torch.randn(40, 30, generator=torch.Generator().manual_seed(0)) ** 3
    kept = cut_smallest({"": w}, 200, {"": 1.0})[""]
    coarse = kmeans(kept, 4)
    cosine = torch.cosine_similarity(w.flatten().double(), coarse.flatten().double(), 0)
    assert sum(angles(w, kept, coarse)) == pytest.approx(-2 * float(cosine.log()), abs=1e-6)
    assert angles(w, w, w) == (0.0, 0.0)


@pytest.mark.slow
def test_a_plan_takes_from_those_that_feel_nothing() -> None:
    g = torch.Generator().manual_seed(0)
    w = {name: torch.randn(64, 64, generator=g) for name in ("dull", "keen")}
    distortions = {"dull": Distortion(Curve(beyond=0.05), Curve(beyond=0.05)), "keen": Distortion()}
    alike = ByteBudget(8 * 800, CODEC).fitted_plan(w)
    told = ByteBudget(8 * 800, CODEC, distortions=distortions)
    plan = told.fitted_plan(w)
    assert plan["dull"].kept < 0.5 * alike["dull"].kept
    assert plan["keen"].kept > 1.2 * alike["keen"].kept
    assert 0.95 * 8 * 800 <= told.size_bits(cut(w, plan)) <= 8 * 800


@pytest.mark.slow
def test_who_feels_rounding_alone_gets_the_bits() -> None:
    w = {"": torch.randn(64, 64, generator=torch.Generator().manual_seed(0))}
    coarse, fine = (
        ByteBudget(
            8 * 600, CODEC, distortions={"": Distortion(Curve(beyond=1.0), Curve(beyond=b))}
        ).plan(w)[""]
        for b in (0.2, 20.0)
    )
    assert isinstance(fine, Choice)
    assert fine.values > coarse.values and fine.kept < coarse.kept
