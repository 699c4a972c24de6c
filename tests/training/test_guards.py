"""Guards: what stops a stage, and what does not."""

from __future__ import annotations

import math

import pytest
import torch

from hauberk.training.guards import Guards


def test_chance_is_the_most_frequent_class() -> None:
    assert Guards.of("s", 10, torch.tensor([0, 1, 1, 1]), 3).chance == 0.75


@pytest.mark.parametrize(("per_epoch", "epochs"), [(50, 4), (100, 2), (200, 2), (500, 2)])
def test_a_collapse_takes_two_epochs_and_200_steps(per_epoch: int, epochs: int) -> None:
    guards = Guards("s", per_epoch, chance=0.5)
    row = {"clean": 0.51, "robust": 0.5}
    assert [guards.check(row) is None for _ in range(epochs)] == [True] * (epochs - 1) + [False]
    failure = guards.check(row)
    assert failure is not None and "\n" not in failure
    assert "Stage s collapsed" in failure and "51.0%" in failure and "50.0%" in failure


def test_one_epoch_above_chance_starts_the_count_anew() -> None:
    guards = Guards("s", 100, chance=0.5)
    rows = [{"clean": 0.5}, {"clean": 0.53}, {"clean": 0.5}]
    assert [guards.check(row) for row in rows] == [None] * 3
    assert guards.steps_at_chance == 100


@pytest.mark.parametrize(
    "row", [{"clean": 0.9, "robust": 0.1}, {"clean": 0.1, "robust": 0.9}, {"loss": 9.0}]
)
def test_what_is_no_collapse(row: dict[str, float]) -> None:
    guards = Guards("s", 1000, chance=0.5)
    assert all(guards.check(row) is None for _ in range(5))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_not_finite_stops_the_stage(value: float) -> None:
    guards = Guards("s", 10, chance=0.5)
    assert guards.check_step({"loss": 1.0}, 3) is None and guards.check_step({}, 3) is None
    failure = guards.check_step({"loss": 1.0, "robust": value}, 7)
    assert failure is not None and "diverged" in failure and "step 7" in failure


def test_a_restored_guard_goes_on_counting() -> None:
    first, second = Guards("s", 100, chance=0.5), Guards("s", 100, chance=0.5)
    assert first.check({"clean": 0.5}) is None
    second.load(first.tree())
    assert second.check({"clean": 0.5}) is not None
