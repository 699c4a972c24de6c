"""Checks of settings that all penalties share."""

from __future__ import annotations

from math import isfinite


def refuse_strength(strength: float) -> None:
    """Raise where λ is negative, infinite or NaN: the prox would not exist.

    Raises:
        ValueError: naming it.
    """
    if not (isfinite(strength) and strength >= 0):
        raise ValueError(f"strength was given as {strength}; give a penalty weight of 0 or more.")


def refuse_eps(eps: float) -> None:
    """Raise if ε would make the factor of a zero weight infinite.

    Raises:
        ValueError: naming it.
    """
    if not (isfinite(eps) and eps > 0):
        raise ValueError(f"eps was given as {eps}; give a positive number.")
