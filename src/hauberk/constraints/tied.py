"""Groups that span layers: filters whose outputs are added are pruned together.

``{w : [w_a | w_b | …] ∈ C for each family (a, b, …)}``, the tensors of a family set side by side as
one matrix, row by row. Networks with residual additions need this: a channel of a sum
disappears only if it disappears from every term.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from hauberk.ops.ties import Families, join, part
from hauberk.problem import Constraint
from hauberk.types import Weights


@dataclass(frozen=True)
class Tied(Constraint):
    """A set of trees whose tied tensors are one matrix.

    Attributes:
        constraint: what that joined tree must meet.
        families: tuples of names whose tensors have equally many rows; a tensor in none of them
            is one on its own.
    """

    constraint: Constraint
    families: Families

    def at(self, progress: float) -> Tied:
        """The same with the inner set in force at ``progress``."""
        return replace(self, constraint=self.constraint.at(progress))

    def project(self, w: Weights) -> dict[str, Tensor]:
        """``argmin ‖w' − w‖``: joining tensors moves no entry, so the norm is the joined tree's."""
        return part(dict(self.constraint.project(self.joined(w))), w, self.families)

    def size_bits(self, w: Weights) -> int:
        """The joined tree's."""
        return self.constraint.size_bits(self.joined(w))

    def budget_bits(self, w: Weights) -> int:
        """The joined tree's."""
        return self.constraint.budget_bits(self.joined(w))

    def joined(self, w: Weights) -> dict[str, Tensor]:
        """One matrix for each family, under the name of its first tensor."""
        return join(w, self.families)
