"""The (reweighted) group lasso: ``r(w) = λ Σ_g P_g ‖w_g‖₂``, with a factor P_g for each group.

Static: P_g = √|g| (Yuan and Lin, 2006). Reweighted: P_g = √|g| / ((s ‖w⁰_g‖)² + ε) at weights w⁰
that are then fixed (Zhang et al., 2020, arXiv 2004.05531). Departures: √|g|, and the scale s, one
for each tensor, which defines what counts as large (see `hauberk.penalties.lasso`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.ops.groups import Grouping, Split
from hauberk.penalties.checks import refuse_eps
from hauberk.penalties.weighted_norm import WeightedNorm
from hauberk.types import Weights


@dataclass(frozen=True, eq=False)
class GroupLasso(WeightedNorm):
    """``λ Σ_g P_g ‖w_g‖₂``, whose gradient is ``λ P_g w_g / ‖w_g‖₂``.

    Attributes:
        strength: λ, 0 or more.
        factors: P by name, one number for each group in the shape of the tensor's
            ``Split.view`` with 1 on the axes inside of a group; tensors without factors are
            not penalised.
        groups: the entries that shrink, and vanish, together.

    Raises:
        ValueError: for a strength that is negative or not finite, or a grouping that keeps a
            part of a group.
    """

    groups: Grouping

    @classmethod
    @torch.no_grad()
    def static(cls, strength: float, groups: Grouping, w: Weights) -> GroupLasso:
        """``P = √|g|`` on each tensor of ``w``.

        Args:
            strength: λ, 0 or more.
            groups: the entries that shrink together.
            w: gives the names and shapes.

        Raises:
            ValueError: a negative strength, or a grouping that keeps a part of a group.
        """
        splits = {name: _split(groups, t) for name, t in w.items()}
        factors = {
            n: torch.ones_like(_norms(t, splits[n])) * splits[n].size ** 0.5 for n, t in w.items()
        }
        return cls(strength, factors, groups)

    @classmethod
    @torch.no_grad()
    def reweighted(
        cls,
        strength: float,
        groups: Grouping,
        w: Weights,
        scales: Mapping[str, float],
        eps: float,
    ) -> GroupLasso:
        """``P = √|g| / ((s ‖w_g‖)² + ε)``, computed once from ``w``.

        Args:
            strength: λ, 0 or more.
            groups: the entries that shrink together.
            w: the weights whose large groups get a small penalty.
            scales: s of each tensor, by name.
            eps: ε, positive; bounds the factors of small groups.

        Raises:
            ValueError: a negative strength, an ``eps`` that is not positive, or a grouping that
                keeps a part of a group.
        """
        refuse_eps(eps)
        splits = {name: _split(groups, t) for name, t in w.items()}
        factors = {
            name: split.size**0.5 / ((_norms(w[name], split) * scales[name]).square() + eps)
            for name, split in splits.items()
        }
        return cls(strength, factors, groups)

    def norms(self, t: Tensor) -> Tensor:
        """``‖t_g‖₂``."""
        return _norms(t, _split(self.groups, t))

    def shrunk(self, t: Tensor, less: Tensor) -> Tensor:
        """``t_g · max(1 − less_g / ‖t_g‖, 0)``: the group shrinkage."""
        split = _split(self.groups, t)
        norms = _norms(t, split)
        fraction = torch.where(norms > less, 1 - less / norms, 0)
        return (t.reshape(split.view) * fraction).reshape(t.shape)


def _split(groups: Grouping, t: Tensor) -> Split:
    split = groups.split(t.shape)
    if split.at_most < split.size:
        raise ValueError(
            f"{groups} lets a part of each group live, which no group norm asks for; give whole "
            "groups, such as filters, columns, channels or blocks."
        )
    return split


def _norms(t: Tensor, split: Split) -> Tensor:
    """``‖w_g‖₂`` in the shape of the view, 1 on the axes inside of a group."""
    viewed = t.reshape(split.view)
    if not split.inside:
        return viewed.abs()
    norms: Tensor = torch.linalg.vector_norm(viewed, dim=split.inside, keepdim=True)
    return norms
