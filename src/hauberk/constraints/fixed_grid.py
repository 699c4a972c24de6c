"""A uniform grid with fixed scales: ``{w : w = s · q, q whole, |q| ≤ 2^(b−1) − 1}``, s given.

The nearest point is rounding, which is cheap enough for every training step; `UniformGrid`, whose
scale is free, has to search for it. Every point of this set is also a point of that one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.constraints.checks import refuse_nonfinite
from hauberk.constraints.uniform_grid import UniformGrid
from hauberk.ops.grid_fit import rounded
from hauberk.problem import Constraint
from hauberk.types import Weights


@dataclass(frozen=True, eq=False)
class FixedGrid(Constraint):
    """``{w : every row of w_l is a whole multiple of its scale s_l}``.

    Attributes:
        grid: bits, and whether each row has a scale of its own.
        scales: (rows,) by the tree's names, 0 or more; a scale of 0 holds its row at zero.

    Raises:
        ValueError: for a scale that is negative or no number, or a tree with other names or rows.
    """

    grid: UniformGrid
    scales: Weights

    def __post_init__(self) -> None:
        for name, scale in self.scales.items():
            if not bool((scale >= 0).all() and torch.isfinite(scale).all()):
                raise ValueError(f"a scale of {name!r} is negative or no number: give 0 or more")

    @classmethod
    def of(cls, grid: UniformGrid, w: Weights) -> FixedGrid:
        """The best scales for ``w`` itself."""
        return cls(grid, {name: grid.fit(t)[0] for name, t in w.items()})

    @torch.no_grad()
    def project(self, w: Weights) -> dict[str, Tensor]:
        """``argmin ‖w' − w‖``: round to the nearest multiple."""
        refuse_nonfinite(w)
        return {name: self._nearest(name, t) for name, t in w.items()}

    def size_bits(self, w: Weights) -> int:
        """b for each weight; the scales are known."""
        return sum(self.grid.bits * t.numel() for t in w.values())

    def budget_bits(self, w: Weights) -> int:
        """The same: every point of the set has the same cost."""
        return self.size_bits(w)

    def _nearest(self, name: str, t: Tensor) -> Tensor:
        rows = self.grid.rows(t)
        known = self.scales.get(name)
        if known is None or len(known) != len(rows):
            raise ValueError(
                f"the weight {name!r} has {len(rows)} rows, and this set knows "
                f"{'none' if known is None else len(known)} of that name: make the set from the "
                "tree that it is to constrain"
            )
        scale = known.to(rows)
        met = scale[:, None] * rounded(rows, scale, self.grid.levels)
        return met.to(t.dtype).reshape(t.shape)
