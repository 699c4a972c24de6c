"""Bounds: the multiplier that is found is the KKT one, and what cannot be met is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.helpers.qp import Point, Quadratic, no_data
from torch import Tensor

from hauberk.batch import Batch
from hauberk.problem import Bound, Problem
from hauberk.runtime.signals import Interrupted
from hauberk.solvers import Descent, DualAscent
from hauberk.training.loop import follow, solve
from hauberk.training.run import Run, TrainingFailed, Watcher
from hauberk.training.stage import Stage

A, C = Quadratic.A, Quadratic.c
NEAR = torch.tensor([0.5, 1.0, -1.0])
STEEP = Descent(lr=0.05, average=0.0, clip=100.0)
QP = DualAscent(STEEP)


def distance(w: Tensor) -> Tensor:
    return 0.5 * (w - NEAR).square().sum()


def ball(limit: float, strict: float = 1.0) -> Bound:
    """½ ‖w − near‖² ≤ limit; the true value is ``strict`` times what the weights see."""
    return Bound(
        lambda net, batch: distance(net.w),
        lambda net: strict * float(distance(net.w.detach())),
        limit,
    )


def kkt(limit: float) -> tuple[Tensor, float]:
    """(A + λ I) w = A c + λ near, with λ by bisection on the distance."""
    low, high = 0.0, 1e4
    for _ in range(100):
        price = (low + high) / 2
        w = torch.linalg.solve(A + price * torch.eye(3), A @ C + price * NEAR)
        low, high = (price, high) if distance(w) > limit else (low, price)
    return w, price


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "start"), [(0.05, 0.03), (2.0, 30.0)])
def test_finds_the_kkt_point_and_its_multiplier(limit: float, start: float) -> None:
    w, price = kkt(limit)
    model, problem = Point(), Problem(Quadratic(), bounds={"near": ball(limit)})
    solution = solve(
        Stage("qp", problem, replace(QP, start=start), 100, 8), model, no_data(), Run()
    )
    assert solution.ok
    torch.testing.assert_close(model.w.detach(), w, atol=1e-3, rtol=0)
    last = solution.history[-1]
    assert last["lambda"] == pytest.approx(price, rel=3e-3)
    assert last["distortion"] == pytest.approx(limit, rel=3e-3)
    assert last["rate"] == pytest.approx(float(0.5 * (w - C) @ A @ (w - C)), rel=3e-3)


@pytest.mark.slow
def test_the_strict_value_is_what_is_controlled() -> None:
    model, problem = Point(), Problem(Quadratic(), bounds={"near": ball(0.4, strict=0.5)})
    solve(Stage("qp", problem, QP, 100, 8), model, no_data(), Run())
    assert float(distance(model.w.detach())) == pytest.approx(0.8, rel=3e-3)


@pytest.mark.slow
def test_a_bound_that_costs_nothing_falls_silent() -> None:
    model, problem = Point(), Problem(Quadratic(), bounds={"near": ball(50.0)})
    solution = solve(Stage("qp", problem, QP, 100, 8), model, no_data(), Run())
    torch.testing.assert_close(model.w.detach(), C, atol=5e-3, rtol=0)
    assert solution.history[-1]["lambda"] == pytest.approx(QP.least)


@pytest.mark.slow
def test_two_bounds_have_a_multiplier_each() -> None:
    above = Bound(
        lambda net, batch: net.w[1].exp(), lambda net: float(net.w.detach()[1].exp()), 0.1
    )
    problem = Problem(Quadratic(), bounds={"near": ball(7.0), "second": above})
    model = Point()
    last = solve(Stage("qp", problem, QP, 100, 8), model, no_data(), Run()).history[-1]
    assert last["distortion_near"] <= 7.01 and last["distortion_second"] <= 0.101
    w, prices = model.w.detach(), (last["lambda_near"], last["lambda_second"])
    steep = torch.stack([w - NEAR, w.exp() * torch.tensor([0.0, 1.0, 0.0])])
    stationary = A @ (w - C) + torch.tensor(prices) @ steep
    assert stationary.abs().max() < 0.05 and min(prices) > 0.1


@pytest.mark.slow
def test_what_cannot_be_met_is_one_sentence_with_the_best_value() -> None:
    floor = Bound(
        lambda net, batch: 1 + distance(net.w), lambda net: 1 + float(distance(net.w.detach())), 0.5
    )
    problem = Problem(Quadratic(), bounds={"near": floor})
    stage = Stage("qp", problem, replace(QP, speed=0.5, patience=100), 100, 8)
    with pytest.raises(TrainingFailed, match=r"The bound near, at most 0\.5.* seen was 1[;.]"):
        follow([stage], Point(), no_data(), Run())


def test_it_resumes_to_the_same_bits(tmp_path: Path) -> None:
    class Stop(Watcher):
        left = 37

        def step(self, metrics: object) -> None:
            Stop.left -= 1
            if not Stop.left:
                import os
                import signal

                os.kill(os.getpid(), signal.SIGTERM)

    problem = Problem(Quadratic(), bounds={"near": ball(0.4)})
    stages = [Stage("qp", problem, replace(QP, looks=27), 10, 8)]
    whole, stopped = Point(), Point()
    follow(stages, whole, no_data(), Run(out=tmp_path / "whole"))
    with pytest.raises(Interrupted):
        follow(stages, stopped, no_data(), Run(out=tmp_path / "stopped", watcher=Stop()))
    fresh = Point()
    follow(stages, fresh, no_data(), Run(out=tmp_path / "stopped", resume=True))
    assert torch.equal(fresh.w, whole.w)
    rows = [(tmp_path / name / "metrics.csv").read_bytes() for name in ("whole", "stopped")]
    assert rows[0] == rows[1] and b"lambda" in rows[0]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"speed": 0.0}, "speed was given as 0"),
        ({"memory": 1.0}, "memory was given as 1"),
        ({"least": 0.0}, "three positive numbers"),
        ({"start": 1e9}, "three positive numbers"),
        ({"looks": 0}, "looks was given as 0"),
        ({"patience": 0}, "patience as 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        DualAscent(**settings)


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
def test_limits_that_are_no_unit_are_refused(limit: float) -> None:
    with pytest.raises(ValueError, match="The bound near was given the limit"):
        QP.init(Problem(Quadratic(), bounds={"near": ball(limit)}), Point())


def test_the_batch_s_surrogate_is_seen_once_a_step() -> None:
    seen: list[float] = []

    def surrogate(net: Point, batch: Batch) -> Tensor:
        seen.append(batch.progress)
        return distance(net.w)

    problem = Problem(Quadratic(), bounds={"near": Bound(surrogate, lambda net: 1.0, 1.0)})
    solve(Stage("qp", problem, QP, 2, 8), Point(), no_data(), Run())
    assert seen == [i / 16 for i in range(16)]
