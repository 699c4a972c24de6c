"""Mean and standard deviation of a measurement over the seeds of a training."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """``{"mean", "sd"}``; a single value has no standard deviation."""
    return {"mean": mean(values), "sd": stdev(values) if len(values) > 1 else None}
