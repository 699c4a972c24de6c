"""Ordinary training: min_w E loss(f_w, x, y)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from hauberk.batch import Batch
from hauberk.objectives.supervised import Supervised, Target, accuracy
from hauberk.problem import Loss
from hauberk.types import Images


@dataclass(frozen=True)
class Natural(Supervised):
    """``E CE(f_w(x), y)``, the cross-entropy on clean inputs."""

    def attacked(self, model: nn.Module, batch: Batch, target: Target) -> Sequence[Images]:
        """No adversary."""
        return ()

    def loss_at(
        self, model: nn.Module, x_adv: Sequence[Images], batch: Batch, target: Target
    ) -> Loss:
        """The mean loss and the clean accuracy of the batch."""
        logits = model(batch.x).float()
        return Loss(target.loss(logits), {"clean": accuracy(logits, batch.y)})
