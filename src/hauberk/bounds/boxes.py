"""Boxes: lower and upper bounds of every entry of a tensor, and the rounding that they allow for.

Bounds are computed in float64 and hold for the network as it runs in float32: every sum of n
products may be off by γ_n Σ |w| |x|, in whatever order it is taken (Higham, 2002, §3.1).

    γ_n = n u / (1 − n u),   u = 2⁻²⁴

It is added at every operation. Bounds therefore hold for IEEE float32 products and sums, fused or
not; TF32, bfloat16 and Winograd convolutions are outside of them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

UNIT = 2.0**-24
"""Unit roundoff of float32."""
DOUBLE = 2.0**-50
"""Allowance for float64 roundings of our own, relative; an operation makes fewer than 8."""


class Box(NamedTuple):
    """An axis-aligned set around each example's tensor.

    Attributes:
        low: (batch, …), float64.
        high: of the same shape, nowhere below ``low``.
    """

    low: Tensor
    high: Tensor

    @property
    def centre(self) -> Tensor:
        """The middle."""
        return (self.low + self.high) / 2

    @property
    def radius(self) -> Tensor:
        """Half of the width."""
        return (self.high - self.low) / 2

    @property
    def magnitude(self) -> Tensor:
        """The largest absolute value."""
        return torch.maximum(self.low.abs(), self.high.abs())

    def lowest(self, a: Tensor) -> Tensor:
        """``min_{z in box} ⟨a, z⟩``, rounded down.

        Args:
            a: coefficients, (batch, spec, …).

        Returns:
            (batch, spec).
        """
        low, high = self.low[:, None], self.high[:, None]
        found = (a.clamp_min(0) * low + a.clamp_max(0) * high).flatten(2).sum(2)
        return found - rounding(a, self)


def rounding(a: Tensor, box: Box) -> Tensor:
    """A bound on what float64 loses in ``⟨a, z⟩`` for z in the box, (batch, spec)."""
    count = box.low[0].numel() + 8
    return count * 2.0**-52 * (a.abs() * box.magnitude[:, None]).flatten(2).sum(2)


def gamma(terms: int) -> float:
    """γ_n for float32, and what float64 adds to it.

    Args:
        terms: n, products in a sum; 0 for an operation that does not round.

    Raises:
        ValueError: so many terms that float32 sums have no bound.
    """
    if terms * UNIT >= 0.5:
        raise ValueError(
            f"A layer sums {terms:,} products, for which float32 rounding has no useful bound; "
            "give a network with smaller layers."
        )
    return terms * UNIT / (1 - terms * UNIT) + terms * DOUBLE
