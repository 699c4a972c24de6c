"""Supervised objectives: logits on a batch are compared with a target, labels or a teacher.

A `Supervised` objective decides where the inputs come from; its `Target` decides what their logits
are compared with.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.batch import Batch
from hauberk.problem import Loss, Objective
from hauberk.types import Images, Labels, PerSample, Scalar


class Target(ABC):
    """The quantity that logits are compared with."""

    @abstractmethod
    def each(self, logits: Tensor, q: float = 0.0) -> PerSample:
        """The training loss of each example; ``q`` saturates it, see `generalised`."""

    @final
    def loss(self, logits: Tensor, q: float = 0.0) -> Scalar:
        """The batch's mean."""
        return self.each(logits, q).mean()

    @abstractmethod
    def worst(self, logits: Tensor) -> PerSample:
        """The loss of each example that an adversary maximises."""


@dataclass(frozen=True, eq=False)
class Hard(Target):
    """The labels themselves: cross-entropy.

    Attributes:
        y: class indices.
    """

    y: Labels

    def each(self, logits: Tensor, q: float = 0.0) -> PerSample:
        """``(1 − p_y^q) / q``, which is cross-entropy at ``q = 0``."""
        return generalised(logits, self.y, q)

    def worst(self, logits: Tensor) -> PerSample:
        """Cross-entropy."""
        return F.cross_entropy(logits, self.y, reduction="none")


class Supervised(Objective):
    """An objective that compares logits with a target; the adversary moves before the weights."""

    @final
    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """The loss against the labels."""
        return self.against(model, batch, Hard(batch.y))

    @final
    def against(self, model: nn.Module, batch: Batch, target: Target) -> Loss:
        """The loss against this target, with accuracies for the log.

        Args:
            model: to logits (batch, class); differentiable in its parameters.
            batch: clean images.
            target: what logits are compared with.
        """
        return self.loss_at(model, self.attacked(model, batch, target), batch, target)

    @abstractmethod
    def attacked(self, model: nn.Module, batch: Batch, target: Target) -> Sequence[Images]:
        """The adversarial images, one batch for each search; empty without an adversary.

        Args:
            model: the network under attack; its parameters get no gradients here.
            batch: clean images, and the warm starts of each search.
            target: whose `Target.worst` the adversary raises.
        """

    @abstractmethod
    def loss_at(
        self, model: nn.Module, x_adv: Sequence[Images], batch: Batch, target: Target
    ) -> Loss:
        """The loss at these inputs, differentiable in the weights.

        Args:
            model: to logits (batch, class).
            x_adv: what `attacked` returned.
            batch: clean images.
            target: what logits are compared with.
        """


def generalised(logits: Tensor, y: Labels, q: float) -> PerSample:
    """Generalised cross-entropy of each example, ``(1 − p_y^q) / q``; cross-entropy at ``q = 0``.

    Args:
        logits: (batch, class).
        y: class indices.
        q: in [0, 1]; the larger, the less hopeless examples count.
    """
    values = F.cross_entropy(logits, y, reduction="none")
    return -torch.expm1(-q * values) / q if q else values


def accuracy(logits: Tensor, y: Labels) -> Tensor:
    """Fraction of rows whose largest logit is the label's, as a detached scalar in [0, 1]."""
    with torch.no_grad():
        return (logits.argmax(1) == y).float().mean()


def divergence(log_p: Tensor, log_q: Tensor) -> PerSample:
    """``KL(p ‖ q)`` per row, from log-probabilities."""
    return torch.sum(log_p.exp() * (log_p - log_q), 1)
