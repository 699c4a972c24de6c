"""A fixed zero pattern as a set: ``{w : w_i = 0 where m_i = 0}``, for retraining after pruning."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.constraints.checks import refuse_nonfinite, refuse_strangers
from hauberk.ops.information import FLOAT_BITS
from hauberk.problem import Constraint
from hauberk.types import Weights


@dataclass(frozen=True, eq=False)
class Support(Constraint):
    """``{w : supp(w) ⊆ supp(m)}``.

    Attributes:
        masks: boolean, True where a weight may be non-zero; by the tree's names, in its shapes.

    Raises:
        ValueError: for masks that are not boolean, or a tree with other names or shapes.
    """

    masks: Weights

    def __post_init__(self) -> None:
        for name, mask in self.masks.items():
            if mask.dtype != torch.bool:
                raise ValueError(
                    f"the mask of {name!r} is {mask.dtype}, and only torch.bool says which weights "
                    "live: compare it with zero first"
                )

    @classmethod
    def of(cls, w: Weights) -> Support:
        """The zero pattern of ``w`` itself."""
        return cls({name: t.detach() != 0 for name, t in w.items()})

    @torch.no_grad()
    def project(self, w: Weights) -> dict[str, Tensor]:
        """``argmin ‖w' − w‖``: weights outside the support become zero."""
        refuse_nonfinite(w)
        refuse_strangers(w, self.masks)
        return {n: torch.where(self.masks[n].to(t.device), t, 0) for n, t in w.items()}

    def size_bits(self, w: Weights) -> int:
        """A float for each weight of the support; the positions are known."""
        return FLOAT_BITS * sum(int(torch.count_nonzero(self.masks[name])) for name in w)

    def budget_bits(self, w: Weights) -> int:
        """The same: every point of the set has the same cost."""
        return self.size_bits(w)
