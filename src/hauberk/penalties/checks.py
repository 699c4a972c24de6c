"""What every penalty refuses, and how it counts magnitudes."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite

from torch import Tensor


def refuse_strength(strength: float) -> None:
    """Raise where λ is negative, infinite or no number: the prox would not exist.

    Raises:
        ValueError: naming it.
    """
    if not (isfinite(strength) and strength >= 0):
        raise ValueError(f"strength was given as {strength}; give a penalty weight of 0 or more.")


def refuse_eps(eps: float) -> None:
    """Raise where ε would let a dead weight's factor be infinite.

    Raises:
        ValueError: naming it.
    """
    if not (isfinite(eps) and eps > 0):
        raise ValueError(f"eps was given as {eps}; give a positive number of mean magnitudes.")


def unit(magnitudes: Iterable[Tensor]) -> float:
    """The mean of them all; 1 where all are 0.

    One for the whole tree: a layer of larger weights is then pressed less than its neighbours. The
    dead count: as weights die the mean falls, and those that live are let go.
    """
    every = [m.double() for m in magnitudes]
    count = sum(m.numel() for m in every)
    return sum(float(m.sum()) for m in every) / max(1, count) or 1.0
