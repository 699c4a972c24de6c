"""A mean over images, or another statistic of them, with a bootstrap interval.

    [ q_2.5%, q_97.5% ] of the statistic of n images drawn with replacement

Source: B. Efron (1979), Ann. Statist. 7, 1 to 26; the percentile interval, from scipy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.stats._resampling import BootstrapResult

_CHUNK = 64
"""Resamples at a time, which bounds the memory."""


@dataclass(frozen=True)
class Estimate:
    """A value measured on ``n`` images, and its 95% bootstrap interval.

    Attributes:
        value: on the images.
        low: lower end of the interval.
        high: upper end of the interval.
        n: number of images.
    """

    value: float
    low: float
    high: float
    n: int

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> Estimate:
        """The estimate that `json` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is no such object.
        """
        low, high = found["ci95"]
        return Estimate(found["value"], low, high, found["n"])

    def json(self) -> dict[str, Any]:
        """``{"value", "ci95": [low, high], "n"}``."""
        return {"value": self.value, "ci95": [self.low, self.high], "n": self.n}

    def text(self, format: str = ".4g") -> str:
        """``31.2 (30.8–31.6)``."""
        return f"{self.value:{format}} ({self.low:{format}}–{self.high:{format}})"


def mean(values: NDArray[np.float64], *, resamples: int, seed: int) -> Estimate:
    """The mean over images, with the percentile interval.

    Args:
        values: one for each image, at least 2.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    found = _bootstrap(values, np.mean, resamples, seed)
    low, high = (float(end) for end in found.confidence_interval)
    return Estimate(float(values.mean()), low, high, len(values))


def of_distance(
    distance: Callable[[NDArray[np.int64]], float], n: int, *, resamples: int, seed: int
) -> Estimate:
    """A distance between two sets of images, with a shifted percentile interval.

    A distance between distributions is larger on a resample, because images occur in it several
    times. The interval is therefore shifted so that the median of the resamples is the value: it
    shows how far the value varies from one set of n images to another, and no bias of the value.

    Args:
        distance: at least 0, for the indices of the images (the same in both sets).
        n: number of images, at least 2.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    value, every = distance(np.arange(n)), np.arange(n)
    found = _bootstrap(every, lambda index: distance(index.astype(np.int64)), resamples, seed)
    shift = value - float(np.median(found.bootstrap_distribution))
    low, high = (max(0.0, float(end) + shift) for end in found.confidence_interval)
    return Estimate(value, min(low, value), max(high, value), n)


def _bootstrap(
    values: NDArray[Any], statistic: Callable[..., Any], resamples: int, seed: int
) -> BootstrapResult:
    from scipy.stats import bootstrap

    return bootstrap(
        (values,),
        statistic,
        n_resamples=resamples,
        batch=_CHUNK,
        vectorized=statistic is np.mean,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
