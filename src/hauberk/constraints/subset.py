"""A set that constrains a part of the tree: ``{w : w restricted to some names ∈ C}``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from hauberk.constraints.checks import refuse_nonfinite
from hauberk.problem import Constraint
from hauberk.types import Weights


@dataclass(frozen=True)
class On(Constraint):
    """Another set on the tensors of these names; the others are free.

    Attributes:
        constraint: what the named tensors must meet together.
        names: of tensors; names that a tree lacks are ignored.
    """

    constraint: Constraint
    names: frozenset[str]

    def at(self, progress: float) -> On:
        """The same with the inner set in force at ``progress``."""
        return replace(self, constraint=self.constraint.at(progress))

    def project(self, w: Weights) -> dict[str, Tensor]:
        """``argmin ‖w' − w‖``: the free tensors stay."""
        refuse_nonfinite(self._free(w))
        met = self.constraint.project(self._part(w))  # which checks its own
        return {name: met[name] if name in met else t.detach().clone() for name, t in w.items()}

    def size_bits(self, w: Weights) -> int:
        """The named part's, and plain numbers for the rest."""
        return self.constraint.size_bits(self._part(w)) + self._rest_bits(w)

    def budget_bits(self, w: Weights) -> int:
        """The named part's, and plain numbers for the rest."""
        return self.constraint.budget_bits(self._part(w)) + self._rest_bits(w)

    def _part(self, w: Weights) -> dict[str, Tensor]:
        return {name: t for name, t in w.items() if name in self.names}

    def _free(self, w: Weights) -> dict[str, Tensor]:
        return {name: t for name, t in w.items() if name not in self.names}

    def _rest_bits(self, w: Weights) -> int:
        return sum(8 * t.element_size() * t.numel() for t in self._free(w).values())
