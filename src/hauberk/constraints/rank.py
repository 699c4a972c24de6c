"""Low rank as a set: ``{w : rank(w_l) ≤ r for each tensor l}``, kernels viewed as out × (in·k·k).

The projection is the truncated SVD (Eckart & Young 1936); rank is meant up to the rounding of the
weights' own type.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

from torch import Tensor

from hauberk.constraints.checks import refuse_nonfinite
from hauberk.ops.information import FLOAT_BITS
from hauberk.ops.svd import numerical_rank, project_rank
from hauberk.problem import Constraint
from hauberk.types import Weights


@dataclass(frozen=True)
class Rank(Constraint):
    """``{w : rank(w_l) ≤ r_l}``.

    Attributes:
        rank: an int is r for every tensor; a float in (0, 1] is a fraction of min(out, in·k·k),
            rounded down, at least 1.

    Raises:
        ValueError: for a rank outside these ranges, or a tensor of fewer than two axes.
    """

    rank: int | float

    def __post_init__(self) -> None:
        whole = isinstance(self.rank, int) and not isinstance(self.rank, bool)
        if not (self.rank >= 1 if whole else 0 < self.rank <= 1):
            raise ValueError(
                f"rank {self.rank} is not valid: give an int of 1 or more, or a fraction in (0, 1]"
            )

    def project(self, w: Weights) -> dict[str, Tensor]:
        """``argmin ‖w' − w‖  s.t.  rank(w'_l) ≤ r_l``."""
        refuse_nonfinite(w)
        matrices = self._matrices(w)
        return {
            name: project_rank(m, self._limit(m)).view_as(w[name]) for name, m in matrices.items()
        }

    def size_bits(self, w: Weights) -> int:
        """A float for each of the ``r (rows + columns − r)`` degrees of freedom."""
        return sum(_free_bits(m, numerical_rank(m)) for m in self._matrices(w).values())

    def budget_bits(self, w: Weights) -> int:
        """The same at the full rank allowed."""
        return sum(_free_bits(m, self._limit(m)) for m in self._matrices(w).values())

    def _limit(self, m: Tensor) -> int:
        most = min(m.shape)
        if isinstance(self.rank, int):
            return min(self.rank, most)
        return max(1, floor(self.rank * most * (1 + 1e-12)))  # as in `Sparsity`

    def _matrices(self, w: Weights) -> dict[str, Tensor]:
        for name, t in w.items():
            if t.ndim < 2:
                raise ValueError(
                    f"the weight {name!r} of shape {tuple(t.shape)} is no matrix and has no rank: "
                    "leave it out of the selection"
                )
        return {name: t.flatten(1) for name, t in w.items()}


def _free_bits(m: Tensor, rank: int) -> int:
    return FLOAT_BITS * rank * (sum(m.shape) - rank)
