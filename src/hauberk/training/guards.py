"""What the loop watches for: collapse to chance, and how alive the support is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.types import Weights


@dataclass
class CollapseGuard:
    """Notices a network that answers no better than always naming the most frequent class.

    Attributes:
        chance: share of the most frequent class among the training labels.
        steps: steps made at chance without a break.
    """

    chance: float
    steps: int = 0
    patience_epochs = 2
    patience_steps = 200
    margin = 0.02

    @classmethod
    def of(cls, y: Tensor, classes: int) -> CollapseGuard:
        """A guard for these training labels."""
        return cls(float(torch.bincount(y, minlength=classes).max()) / max(1, len(y)))

    def look(self, stage: str, means: Mapping[str, float], steps: int) -> str:
        """A sentence if an epoch of ``steps`` steps with these means completes a collapse."""
        seen = [means[name] for name in ("clean", "robust") if name in means]
        lost = bool(seen) and max(seen) <= self.chance + self.margin
        self.steps = self.steps + steps if lost else 0
        if self.steps < max(self.patience_steps, self.patience_epochs * steps):
            return ""
        return (
            f"Stage {stage} collapsed: over the last {self.steps} steps its accuracy, "
            f"{max(seen):.1%}, was no better than always answering one class ({self.chance:.1%}). "
            "Try a --warmup of eps (such as 0.2), a smaller --lr or a larger --keep, or carve the "
            "net out of a wider one (--method admm --pattern filter --shrink-to-width)."
        )


class SupportWatch:
    """How much of the support is new since the last look: a frozen support learns no new shape."""

    def __init__(self, w: Weights) -> None:
        self.mask = _support(w)

    def look(self, w: Weights) -> dict[str, float]:
        """``kept``, the share of weights not 0, and ``support_change``, the share that is new."""
        mask = _support(w)
        new, kept = int((mask & ~self.mask).sum()), int(mask.sum())
        self.mask = mask
        return {"kept": kept / max(1, len(mask)), "support_change": new / max(1, kept)}


def _support(w: Weights) -> Tensor:
    return torch.cat([(p.detach() != 0).flatten() for p in w.values()])
