"""The (reweighted) lasso: ``r(w) = λ Σ_j P_j |w_j|``, with a factor P_j for each weight.

Static: P = 1 (Tibshirani, 1996). Reweighted: P_j = 1 / (s |w⁰_j| + ε) at weights w⁰ that are then
held, which majorises Σ log(s |w_j| + ε) (Candès, Wakin and Boyd, 2008, arXiv 0711.1612; for
networks Zhang et al., 2020, arXiv 2004.05531). The scale s, one for each tensor, says what counts
as large: with the scales of a one-shot pruning (`Sparsity.scales`) it is what that would keep.
Candès, Wakin and Boyd use the k-th largest magnitude as ε to the same end. The scale of the network
then does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.penalties.checks import refuse_eps
from hauberk.penalties.weighted_norm import WeightedNorm
from hauberk.types import Weights


@dataclass(frozen=True, eq=False)
class Lasso(WeightedNorm):
    """``λ Σ_j P_j |w_j|``, whose gradient is ``λ P · sign(w)``.

    Attributes:
        strength: λ, 0 or more.
        factors: P by name, each in its tensor's shape; tensors without factors are not penalised.

    Raises:
        ValueError: for a strength that is negative or not finite.
    """

    @classmethod
    def static(cls, strength: float, w: Weights) -> Lasso:
        """``P = 1`` on each tensor of ``w``."""
        return cls(strength, {name: torch.ones_like(t.detach()) for name, t in w.items()})

    @classmethod
    @torch.no_grad()
    def reweighted(
        cls, strength: float, w: Weights, scales: Mapping[str, float], eps: float
    ) -> Lasso:
        """``P = 1 / (s |w| + ε)``, computed once from ``w``.

        Args:
            strength: λ, 0 or more.
            w: the weights whose large entries get a small penalty.
            scales: s of each tensor, by name.
            eps: ε, positive; bounds the factors of small weights.

        Raises:
            ValueError: a negative strength, or an ``eps`` that is not positive.
        """
        refuse_eps(eps)
        return cls(strength, {name: 1 / (t.abs() * scales[name] + eps) for name, t in w.items()})

    def norms(self, t: Tensor) -> Tensor:
        """``|t|``."""
        return t.abs()

    def shrunk(self, t: Tensor, less: Tensor) -> Tensor:
        """``sign(t) · max(|t| − less, 0)``: the soft threshold."""
        return t.sign() * (t.abs() - less).clamp_min(0)
