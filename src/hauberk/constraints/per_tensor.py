"""Any set, layer by layer: ``w_l ∈ C  for each tensor l``, where C alone would share one budget."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from hauberk.problem import Constraint
from hauberk.types import Weights


@dataclass(frozen=True)
class PerTensor(Constraint):
    """``{w : {name: w_name} ∈ constraint for each name}``: a product of sets.

    Attributes:
        constraint: the set that each tensor meets on its own.
    """

    constraint: Constraint

    def at(self, progress: float) -> PerTensor:
        """The product of the inner set's states."""
        return replace(self, constraint=self.constraint.at(progress))

    def project(self, w: Weights) -> dict[str, Tensor]:
        """``argmin ‖w' − w‖``, which splits over the tensors."""
        return {name: self.constraint.project({name: t})[name] for name, t in w.items()}

    def size_bits(self, w: Weights) -> int:
        """The sum over the tensors."""
        return sum(self.constraint.size_bits({name: t}) for name, t in w.items())

    def budget_bits(self, w: Weights) -> int:
        """The sum over the tensors."""
        return sum(self.constraint.budget_bits({name: t}) for name, t in w.items())
