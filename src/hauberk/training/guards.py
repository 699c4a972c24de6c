"""Guards: they stop a stage whose metrics are not finite or whose accuracy is at chance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hauberk.runtime import schema

_PATIENCE_EPOCHS = 2
_PATIENCE_STEPS = 200
_MARGIN = 0.02
"""Accuracy above chance, below which a network has collapsed."""


@dataclass
class Guards:
    """Watches the metrics of one stage.

    A network has collapsed when it is no better than always answering the most frequent class, for
    two epochs and 200 steps without a break.

    Attributes:
        stage: name of the stage, for the messages.
        per_epoch: steps per epoch.
        chance: fraction of the training labels that are of the most frequent class.
        steps_at_chance: steps made at chance without a break.
    """

    stage: str
    per_epoch: int
    chance: float
    steps_at_chance: int = 0

    @classmethod
    def of(cls, stage: str, per_epoch: int, labels: Tensor, classes: int) -> Guards:
        """Guards for a stage that trains on these labels.

        Args:
            stage: name of the stage.
            per_epoch: steps per epoch.
            labels: class indices of the training split, (count,).
            classes: how many there are.
        """
        most = float(torch.bincount(labels, minlength=classes).max())
        return cls(stage, per_epoch, most / max(1, len(labels)))

    def check_step(self, metrics: Mapping[str, float], step: int) -> str | None:
        """Check that the metrics of a step are finite.

        Returns:
            A one-line error message, or None.
        """
        finite = all(math.isfinite(value) for value in metrics.values())
        return None if finite else self.diverged(step)

    def check(self, row: Mapping[str, Any]) -> str | None:
        """Check that an epoch's accuracy, ``clean`` or ``robust``, is above chance.

        Args:
            row: of the log: the epoch's means by name.

        Returns:
            A one-line error message once the network has collapsed, else None.
        """
        seen = [row[name] for name in ("clean", "robust") if name in row]
        lost = bool(seen) and max(seen) <= self.chance + _MARGIN
        self.steps_at_chance = self.steps_at_chance + self.per_epoch if lost else 0
        if self.steps_at_chance < max(_PATIENCE_STEPS, _PATIENCE_EPOCHS * self.per_epoch):
            return None
        return (
            f"Stage {self.stage} collapsed: over the last {self.steps_at_chance} steps its "
            f"accuracy, {max(seen):.1%}, was no better than always answering one class "
            f"({self.chance:.1%}). Try a --warmup of eps (such as 0.2), a smaller --lr or a larger "
            "--keep, or shrink a wider net (--method admm-pruning --pattern filter "
            "--shrink-to-width)."
        )

    def diverged(self, step: int) -> str:
        """The error message for weights or metrics that are no longer finite."""
        return (
            f"Stage {self.stage} diverged: loss or weights are no longer finite numbers at step "
            f"{step}. Try a smaller learning rate, or full precision instead of bf16."
        )

    def tree(self) -> dict[str, Any]:
        """The steps at chance."""
        return {"steps_at_chance": self.steps_at_chance}

    def load(self, tree: dict[str, Any]) -> None:
        """Go on counting from a checkpoint."""
        schema.keys(tree, ("steps_at_chance",), "the guards")
        steps = tree["steps_at_chance"]
        self.steps_at_chance = schema.within(steps, 0, schema.LARGEST, "the steps at chance")
