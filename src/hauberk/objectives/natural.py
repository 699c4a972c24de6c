"""Ordinary training: min_w E loss(f_w, x, y)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.problem import Loss, Objective
from hauberk.types import Batch, Labels


@dataclass(frozen=True)
class Natural(Objective):
    """``E CE(f_w(x), y)``, the cross-entropy on clean inputs."""

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """The mean cross-entropy and the clean accuracy of the batch."""
        logits = model(batch.x).float()
        return Loss(F.cross_entropy(logits, batch.y), {"clean": accuracy(logits, batch.y)})


def accuracy(logits: Tensor, y: Labels) -> Tensor:
    """Share of rows whose largest logit is the label's, as a detached scalar in [0, 1]."""
    with torch.no_grad():
        return (logits.argmax(1) == y).float().mean()
