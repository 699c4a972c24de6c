"""A penalty on groups that span layers: ``r( [w_a | w_b | …] )``, as the set `constraints.Tied`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from hauberk.ops.ties import Families, join, part
from hauberk.problem import Penalty
from hauberk.types import Scalar, Weights


@dataclass(frozen=True)
class TiedPenalty(Penalty):
    """A penalty of trees whose tied tensors are one matrix.

    Attributes:
        penalty: of the joined tree, see `hauberk.ops.ties.join`.
        families: tuples of names whose tensors have equally many rows; a tensor in none of them
            is one on its own.
    """

    penalty: Penalty
    families: Families

    def at(self, progress: float) -> TiedPenalty:
        """The same with the inner penalty in force at ``progress``."""
        return replace(self, penalty=self.penalty.at(progress))

    def value(self, w: Weights) -> Scalar:
        """The joined tree's."""
        return self.penalty.value(join(w, self.families))

    def prox(self, w: Weights, step: float) -> dict[str, Tensor]:
        """The joined tree's: joining moves no entry, so distances are the same."""
        met = self.penalty.prox(join(w, self.families), step)
        return part(dict(met), w, self.families)
