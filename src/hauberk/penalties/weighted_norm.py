"""The base of the penalties: ``r(w) = λ Σ_j P_j ‖w_j‖`` with fixed factors P."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.penalties.checks import refuse_strength
from hauberk.problem import Penalty
from hauberk.types import Scalar, Weights


@dataclass(frozen=True, eq=False)
class WeightedNorm(Penalty):
    """A weighted sum of norms; each subclass defines the norms.

    Attributes:
        strength: λ, 0 or more.
        factors: P by name; tensors without factors are not penalised.

    Raises:
        ValueError: for a strength that is negative or not finite.
    """

    strength: float
    factors: Weights

    def __post_init__(self) -> None:
        refuse_strength(self.strength)

    @abstractmethod
    def norms(self, t: Tensor) -> Tensor:
        """``‖t_j‖``, in the shape of its factors."""

    @abstractmethod
    def shrunk(self, t: Tensor, less: Tensor) -> Tensor:
        """``t`` with its norms smaller by ``less``, and 0 where they would not be positive."""

    def value(self, w: Weights) -> Scalar:
        """``λ Σ_j P_j ‖w_j‖``."""
        known = [(t, self.factors[name]) for name, t in w.items() if name in self.factors]
        return (
            self.strength * torch.stack([(p.to(t) * self.norms(t)).sum() for t, p in known]).sum()
        )

    @torch.no_grad()
    def prox(self, w: Weights, step: float) -> dict[str, Tensor]:
        """``argmin ‖w' − w‖² / 2 + step · r(w')``: every norm shrinks by ``step λ P``."""
        scale = step * self.strength
        return {
            name: self.shrunk(t, scale * self.factors[name].to(t))
            if scale and name in self.factors
            else t.detach().clone()
            for name, t in w.items()
        }
