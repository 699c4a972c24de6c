"""Groups that span layers: filters whose outputs are added live or die together.

``{w : [w_a | w_b | …] ∈ C for each family (a, b, …)}``, the tensors of a family set side by side as
one matrix, row by row. A network with residual additions gets thinner only so: a sum's channel is
gone when it is gone from every term.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

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
    families: tuple[tuple[str, ...], ...]

    def at(self, progress: float) -> Tied:
        """The inner set's state."""
        return replace(self, constraint=self.constraint.at(progress))

    def project(self, w: Weights) -> dict[str, Tensor]:
        """``argmin ‖w' − w‖``: joining tensors moves no entry, so the norm is the joined tree's."""
        met = self.constraint.project(self.joined(w))
        out: dict[str, Tensor] = {}
        for first, names in self._present(w).items():
            parts = torch.split(met[first], [_width(w[name]) for name in names], dim=1)
            out |= {n: part.reshape(w[n].shape) for n, part in zip(names, parts, strict=True)}
        return {name: out[name] for name in w}

    def size_bits(self, w: Weights) -> int:
        """The joined tree's."""
        return self.constraint.size_bits(self.joined(w))

    def budget_bits(self, w: Weights) -> int:
        """The joined tree's."""
        return self.constraint.budget_bits(self.joined(w))

    def joined(self, w: Weights) -> dict[str, Tensor]:
        """One matrix for each family, under the name of its first tensor."""
        return {
            first: torch.cat([w[name].reshape(len(w[name]), -1) for name in names], 1)
            for first, names in self._present(w).items()
        }

    def _present(self, w: Weights) -> Mapping[str, tuple[str, ...]]:
        """The families of this tree; those of other names are dropped."""
        home = {name: family for family in self.families for name in family if name in w}
        found: dict[str, tuple[str, ...]] = {}
        for name in w:
            names = tuple(n for n in home.get(name, (name,)) if n in w)
            found.setdefault(names[0], names)
        for names in found.values():
            if len({len(w[name]) for name in names}) > 1:
                rows = ", ".join(f"{name} has {len(w[name])} rows" for name in names)
                raise ValueError(f"tensors can be tied only row by row, but {rows}")
        return found


def _width(t: Tensor) -> int:
    return t[0].numel() if len(t) else 0
