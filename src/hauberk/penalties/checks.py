"""What every penalty refuses."""

from __future__ import annotations

from math import isfinite


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
        raise ValueError(f"eps was given as {eps}; give a positive number.")
