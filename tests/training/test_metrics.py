"""Metrics: means over an epoch, and how much of the support is new."""

from __future__ import annotations

import pytest
import torch

from hauberk.runtime.processes import ALONE
from hauberk.training.metrics import CHECK_EVERY, EpochMetrics, SupportChange

CPU = torch.device("cpu")


def test_means_are_over_the_epoch_s_steps() -> None:
    metrics = EpochMetrics(4, ALONE, 1.0, CPU)
    for epoch in range(2):
        for step in range(1, 5):
            metrics.add({"loss": torch.tensor(float(step + epoch))}, 4 * epoch + step)
        assert metrics.close() == {"loss": 2.5 + epoch}


def test_metrics_are_read_every_16th_step_and_at_the_end_of_an_epoch() -> None:
    metrics = EpochMetrics(CHECK_EVERY + 4, ALONE, 1.0, CPU)
    read = [
        step
        for step in range(1, 2 * CHECK_EVERY + 9)
        if metrics.add({"loss": torch.tensor(0.5)}, step) == {"loss": 0.5}
    ]
    assert read == [16, 20, 32, 40]


def test_restored_sums_go_on() -> None:
    first, second = (EpochMetrics(2, ALONE, 1.0, CPU) for _ in range(2))
    first.add({"loss": torch.tensor(1.0)}, 1)
    second.load(first.tree())
    second.add({"loss": torch.tensor(2.0)}, 2)
    assert second.close() == {"loss": 1.5}


def test_support_change_is_the_fraction_of_new_weights() -> None:
    support = SupportChange({"a": torch.tensor([1.0, 0.0]), "b": torch.tensor([[0.0, 2.0]])})
    w = {"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([[0.0, 0.0]])}
    assert support.measure(w) == {"kept": 0.5, "support_change": 0.5}
    assert support.measure(w) == {"kept": 0.5, "support_change": 0.0}
    other = SupportChange({name: torch.zeros_like(t) for name, t in w.items()})
    other.load(support.tree())
    assert other.measure(w)["support_change"] == 0.0


@pytest.mark.parametrize("w", [{}, {"a": torch.zeros(3)}])
def test_nothing_kept_is_no_division_by_zero(w: dict[str, torch.Tensor]) -> None:
    expected = {"kept": 0.0, "support_change": 0.0} if w else {}
    assert SupportChange(w).measure(w) == expected
