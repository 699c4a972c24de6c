"""The (reweighted) lasso: ``r(w) = λ Σ_j P_j |w_j|``, with a factor P_j for each weight.

Static: P = 1 (Tibshirani, 1996). Reweighted: P_j = 1 / (|w⁰_j| + ε) at weights w⁰ that are then
held, which majorises Σ log(|w_j| + ε) (Candès, Wakin and Boyd, 2008, arXiv 0711.1612; for networks
Zhang et al., 2020, arXiv 2004.05531). Departure: |w⁰_j| is counted in m̄, the mean of |w⁰|
over all tensors: λ and ε then do not depend on the network's scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.penalties.checks import refuse_eps, refuse_strength, unit
from hauberk.problem import Penalty
from hauberk.types import Scalar, Weights


@dataclass(frozen=True, eq=False)
class Lasso(Penalty):
    """``λ Σ_j P_j |w_j|``, whose gradient is ``λ P · sign(w)``.

    Attributes:
        strength: λ, 0 or more.
        factors: P by name, each in its tensor's shape; tensors that have none are free.

    Raises:
        ValueError: for a strength that is negative or no number.
    """

    strength: float
    factors: Weights

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        refuse_strength(self.strength)

    @classmethod
    def static(cls, strength: float, w: Weights) -> Lasso:
        """``P = 1`` on each tensor of ``w``."""
        return cls(strength, {name: torch.ones_like(t.detach()) for name, t in w.items()})

    @classmethod
    @torch.no_grad()
    def reweighted(cls, strength: float, w: Weights, eps: float) -> Lasso:
        """``P = 1 / (|w| / m̄ + ε)`` on each tensor of ``w``, which is then held.

        Raises:
            ValueError: for an ``eps`` that is not positive.
        """
        refuse_eps(eps)
        mean = unit(t.abs() for t in w.values())
        return cls(strength, {name: 1 / (t.abs() / mean + eps) for name, t in w.items()})

    def value(self, w: Weights) -> Scalar:
        """``λ Σ_j P_j |w_j|``."""
        known = [(t, self.factors[name]) for name, t in w.items() if name in self.factors]
        return self.strength * torch.stack([(p.to(t) * t.abs()).sum() for t, p in known]).sum()

    @torch.no_grad()
    def prox(self, w: Weights, step: float) -> dict[str, Tensor]:
        """``sign(w) · max(|w| − step λ P, 0)``: the soft threshold."""
        return {name: self._shrunk(name, t, step * self.strength) for name, t in w.items()}

    def _shrunk(self, name: str, t: Tensor, scale: float) -> Tensor:
        if name not in self.factors or not scale:
            return t.detach().clone()
        return t.sign() * (t.abs() - scale * self.factors[name].to(t)).clamp_min(0)
