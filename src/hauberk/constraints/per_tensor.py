"""Apply a set to each tensor on its own: ``w_l ∈ C for each l``, so that no budget is shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from hauberk.problem import Constraint
from hauberk.types import Weights


@dataclass(frozen=True)
class PerTensor(Constraint):
    """``{w : {name: w_name} ∈ constraint for each name}``: a product of sets.

    Attributes:
        constraint: the set that each tensor meets on its own.
        own: sets that replace it for some tensors, by name.
    """

    constraint: Constraint
    own: Mapping[str, Constraint] = field(default_factory=dict)

    def at(self, progress: float) -> PerTensor:
        """The product of the inner sets in force at ``progress``."""
        own = {name: c.at(progress) for name, c in self.own.items()}
        return replace(self, constraint=self.constraint.at(progress), own=own)

    def project(self, w: Weights) -> dict[str, Tensor]:
        """``argmin ‖w' − w‖``, which splits over the tensors."""
        return {name: self._of(name).project({name: t})[name] for name, t in w.items()}

    def size_bits(self, w: Weights) -> int:
        """The sum over the tensors."""
        return sum(self._of(name).size_bits({name: t}) for name, t in w.items())

    def budget_bits(self, w: Weights) -> int:
        """The sum over the tensors."""
        return sum(self._of(name).budget_bits({name: t}) for name, t in w.items())

    def _of(self, name: str) -> Constraint:
        return self.own.get(name, self.constraint)
