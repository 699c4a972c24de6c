"""Early exit: the members of an ensemble answer in order and stop when the answer is settled.

    stop after member t   if   F_t(x)_i − max_{j≠i} F_t(x)_j ≥ θ_t,   i = argmax F_t(x)

Exact: θ_t = Σ_{u>t} |α_u| s_u with limited spreads s (see `hauberk.models.ensemble`), plus an
allowance for rounding. The members that are left cannot change the answer, whatever the image is,
so an adversary gains nothing but time. Calibrated: θ_t is the least gap at which given images keep
their answers; other images, and above all attacked ones, may change theirs, so evaluate this module
itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from hauberk.models.ensemble import Ensemble
from hauberk.types import Images

_ROUNDING = 1e-4
"""Allowance for rounding, relative to the sizes of the logits and of the bound."""


class EarlyExit(nn.Module):
    """The logits of as many members as each image needs.

    Args:
        ensemble: its members answer in order.
        gaps: θ, for each member but the last: the gap between the two largest logits of the sum so
            far, at and above which the later members are not evaluated.

    Raises:
        ValueError: not one gap for each member but the last.
    """

    def __init__(self, ensemble: Ensemble, gaps: Sequence[float]) -> None:
        super().__init__()
        if len(gaps) != len(ensemble.members) - 1:
            raise ValueError(
                f"Early exit was given {len(gaps)} gaps for {len(ensemble.members)} members; give "
                "one for each member but the last."
            )
        self.ensemble, self.gaps, self.exact = ensemble, tuple(gaps), False

    @classmethod
    def bounded(cls, ensemble: Ensemble) -> Self:
        """Exits that change no answer, from the spreads of the members.

        Raises:
            ValueError: the spreads of the members are not limited.
        """
        if ensemble.spread is None:
            raise ValueError(
                "The members of this ensemble have no limited spreads, so no bound on what later "
                "members add is known; limit them (Ensemble.limit), or calibrate the gaps."
            )
        reach = (ensemble.alpha[1:].abs() * ensemble.spread).double()
        left = reach.flip(0).cumsum(0).flip(0)
        made = cls(ensemble, left.tolist())
        made.exact = True
        return made

    @classmethod
    @torch.no_grad()
    def calibrated(cls, ensemble: Ensemble, x: Images, changed: float = 0.0) -> Self:
        """Exits that change the answers of at most a fraction of these images.

        Args:
            ensemble: its members answer in order.
            x: images to calibrate on, such as validation images, clean and attacked.
            changed: largest fraction of them whose answer may change.

        Raises:
            ValueError: no images, or a fraction outside [0, 1).
        """
        if not len(x) or not 0 <= changed < 1:
            raise ValueError(
                f"Early exit was given {len(x)} images and changed={changed}; give at least one "
                "image, and a fraction in [0, 1)."
            )
        sums = _sums(ensemble, x)
        allowed = int(changed * len(x) / max(1, len(sums) - 1))
        gaps = []
        for so_far in sums[:-1]:
            wrong = so_far.argmax(1) != sums[-1].argmax(1)
            largest = gap(so_far)[wrong].sort(descending=True).values
            least = float(largest[allowed]) if len(largest) > allowed else 0.0
            gaps.append(least * (1 + _ROUNDING))
        return cls(ensemble, gaps)

    def forward(self, x: Images) -> Tensor:
        """The sum up to the member at which each image stops, (batch, class)."""
        return self.run(x)[0]

    def run(self, x: Images) -> tuple[Tensor, Tensor]:
        """The logits, and how many members each image needed; the others are not computed."""
        logits = self.ensemble.part(0, x)
        rows = torch.arange(len(x), device=x.device)
        used = torch.ones_like(rows)
        for number, least in enumerate(self.gaps, start=1):
            so_far = logits[rows].detach()
            rows = rows[gap(so_far) < self._enough(least, so_far)]
            if not len(rows):
                break
            logits = logits.index_add(0, rows, self.ensemble.part(number, x[rows]))
            used = used.index_add(0, rows, torch.ones_like(rows))
        return logits, used

    def _enough(self, least: float, so_far: Tensor) -> Tensor | float:
        """The gap that suffices; the exact form allows for the rounding of the remaining sum."""
        if not self.exact:
            return max(least, torch.finfo(so_far.dtype).tiny)
        return least + _ROUNDING * (least + so_far.abs().amax(1))


def gap(logits: Tensor) -> Tensor:
    """The difference between the two largest logits of each row."""
    two = logits.topk(2, 1).values
    return two[:, 0] - two[:, 1]


def _sums(ensemble: Ensemble, x: Images) -> list[Tensor]:
    """The sums of the first, the first two, … members."""
    sums = [ensemble.part(0, x)]
    for number in range(1, len(ensemble.members)):
        sums.append(sums[-1] + ensemble.part(number, x))
    return sums
