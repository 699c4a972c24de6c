"""A uniform grid as a set: ``{w : w = s · q, q whole, |q| ≤ 2^(b−1) − 1}``, the scale s free.

    argmin_{s, q} ‖a − s q‖² = ‖a‖² − max_q ⟨a, q⟩² / ⟨q, q⟩,   s = ⟨a, q⟩ / ⟨q, q⟩,   a = |w|

For a given s the nearest point is rounding, q = min(⌊a / s + ½⌋, L), which changes only where
s = a_i / (k − ½). The projection is exact while a tensor has at most `_EXACT` = 2²⁰ such
breakpoints (weights × levels): every one is tried. Beyond that it is a heuristic with no bound on
its gap: the best of `_TRIES` scales is improved by alternation to a local optimum.

Source: Jacob et al. (2018), arXiv 1712.05877, with a zero point of 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.constraints.checks import refuse_nonfinite
from hauberk.ops.grid_fit import common, rounded
from hauberk.ops.information import FLOAT_BITS
from hauberk.problem import Constraint
from hauberk.types import Weights

_EXACT = 1 << 20
"""The projection is exact for tensors of at most this many breakpoints."""
_TRIES = 96
_ROUNDS = 4
_ULPS = 4.0
"""Rounding in units of the last place by which a point may miss its grid: of its largest entry and
of each other, times its scale, and once more where batch-norm was folded into it."""


@dataclass(frozen=True)
class UniformGrid(Constraint):
    """Every tensor, or every one of its rows, is a whole multiple of one scale.

    Attributes:
        bits: b, from 2 to 16.
        per_channel: whether each row (output channel) of a tensor has a scale of its own; a vector
            is one row.

    Raises:
        ValueError: for bits outside 2…16.
    """

    bits: int = 8
    per_channel: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.bits, bool) or not 2 <= self.bits <= 16 or int(self.bits) != self.bits:
            raise ValueError(f"bits {self.bits} is outside 2…16: give a whole number of bits in it")

    @property
    def levels(self) -> int:
        """L: the largest whole number of the grid."""
        return (1 << (self.bits - 1)) - 1

    def project(self, w: Weights) -> dict[str, Tensor]:
        """``argmin ‖w' − w‖``: exact up to `_EXACT` breakpoints a tensor, else a local optimum."""
        refuse_nonfinite(w)
        return {name: self._nearest(t) for name, t in w.items()}

    @torch.no_grad()
    def fit(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The best scales (rows,) in float64 and the whole numbers, in the shape of ``t``.

        A row that is on a grid already gets that grid, as the smallest whole numbers it can have.
        A row of zeros has the scale 0.
        """
        rows = self.rows(t)
        scale = common(rows, self.levels, _slack(t))
        lost = scale == 0
        if lost.any():
            scale[lost] = _best(rows[lost].abs(), self.levels)
        return scale, rounded(rows, scale, self.levels).reshape(t.shape)

    def size_bits(self, w: Weights) -> int:
        """b for each weight and a float for each scale."""
        return sum(self.bits * t.numel() + FLOAT_BITS * len(self.rows(t)) for t in w.values())

    def budget_bits(self, w: Weights) -> int:
        """The same: every point of the set has the same cost."""
        return self.size_bits(w)

    def rows(self, t: Tensor) -> Tensor:
        """``t`` in float64 as a matrix each row of which has one scale."""
        wide = t.detach().double()
        apart = self.per_channel and t.ndim > 1 and t.numel() > 0
        return wide.reshape(len(t), -1) if apart else wide.reshape(1, -1)

    @torch.no_grad()
    def _nearest(self, t: Tensor) -> Tensor:
        rows = self.rows(t)
        scale, whole = self.fit(t)
        met = scale[:, None] * whole.reshape(rows.shape)
        # a point of the set stays as it is, whichever way its products were rounded
        near = (met - rows).abs() <= _slack(t) * rows.abs()
        met = torch.where(near.all(1, keepdim=True), rows, met)
        return met.to(t.dtype).reshape(t.shape)


def _slack(t: Tensor) -> float:
    return _ULPS * torch.finfo(t.dtype).eps


def _best(a: Tensor, levels: int) -> Tensor:
    """The scale of each row of ``a ≥ 0``."""
    if a.shape[1] == 0:
        return a.new_zeros(len(a))
    scale = _swept(a, levels) if a.numel() * levels <= _EXACT else _searched(a, levels)
    return torch.where(a.amax(1) > 0, scale, 0.0)


def _swept(a: Tensor, levels: int) -> Tensor:
    """Every whole vector that some scale rounds to, from zero upwards; the best one's scale."""
    steps = torch.arange(1, levels + 1, dtype=a.dtype, device=a.device)
    where = (a[:, :, None] / (steps - 0.5)).flatten(1)  # below this, q_i ≥ k
    order = where.argsort(stable=True, dim=1, descending=True)
    product = a[:, :, None].expand(*a.shape, levels).flatten(1).gather(1, order).cumsum(1)
    square = (2 * steps - 1).expand(*a.shape, levels).flatten(1).gather(1, order).cumsum(1)
    best = (product / square.sqrt()).argmax(1, keepdim=True)
    return (product / square).gather(1, best)[:, 0]


def _searched(a: Tensor, levels: int) -> Tensor:
    """The best of some scales up to ``max a / (L − ½)``, then ``s ← ⟨a, q⟩ / ⟨q, q⟩``."""
    top = a.amax(1) / levels
    best, score = top, a.new_full((len(a),), -torch.inf)
    for fraction in torch.linspace(0.15, 1.05, _TRIES, dtype=a.dtype).tolist():
        scale, seen = _improved(a, top * fraction, levels)
        best, score = torch.where(seen > score, scale, best), torch.maximum(seen, score)
    for _ in range(_ROUNDS):
        scale, seen = _improved(a, best, levels)
        best, score = torch.where(seen > score, scale, best), torch.maximum(seen, score)
    return best


def _improved(a: Tensor, scale: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """The best scale for what ``scale`` rounds to, and ``⟨a, q⟩² / ⟨q, q⟩``."""
    whole = rounded(a, scale, levels)
    product, square = (a * whole).sum(1), whole.square().sum(1).clamp_min(1)
    return product / square, product.square() / square
