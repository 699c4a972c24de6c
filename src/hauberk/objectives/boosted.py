"""Boosting: the loss of a sum of networks whose newest member alone is trained.

min_h E max_{x' ∈ Δ(x)} loss(F(x') + h(x'), y),   F = Σ_s α_s h_s fixed
MCE(z, y) = −log softmax(z)_y − 1/(K−1) Σ_{j≠y} log softmax(−z)_j

The model is the whole sum with its earlier members frozen, so any supervised objective boosts: its
attack differentiates the sum end to end with respect to the input, and only the newest member gets
gradients of its weights. At the attacked images the frozen members are evaluated once, and without
a graph. Only the margin loss and the loss of one part alone are new here.

Sources: Abernethy, Awasthi and Kale (2021), arXiv 2103.01276, for the sum under attack; MCE is the
loss of Margin-Boosting (Zhang et al., ICML 2022), as its public code has it. Departures from that
code: the random start has the full radius, and logits are not divided by a temperature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.batch import Batch
from hauberk.objectives.supervised import Hard, Supervised, Target
from hauberk.problem import Loss, Objective
from hauberk.types import Images, PerSample


@dataclass(frozen=True, eq=False)
class MarginHard(Hard):
    """The labels themselves: margin cross-entropy, for training and for the attack."""

    def each(self, logits: Tensor, q: float = 0.0) -> PerSample:
        """MCE; ``q`` saturates its cross-entropy."""
        return super().each(logits, q) + self._others(logits)

    def worst(self, logits: Tensor) -> PerSample:
        """MCE."""
        return super().worst(logits) + self._others(logits)

    def _others(self, logits: Tensor) -> PerSample:
        """``−1/(K−1) Σ_{j≠y} log softmax(−z)_j``: each other class should be the least likely."""
        against = -F.log_softmax(-logits, 1)
        wrong = torch.ones_like(against).scatter(1, self.y[:, None], 0.0)
        return (wrong * against).sum(1) / max(1, logits.shape[1] - 1)


@dataclass(frozen=True)
class Boosted(Objective):
    """A supervised objective whose cross-entropy is the margin cross-entropy.

    Attributes:
        objective: its threat, attack, clean loss and warm-up stay.
    """

    objective: Supervised

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """The objective's loss, against `MarginHard`."""
        return self.objective.against(model, batch, MarginHard(batch.y))

    def memory(self) -> dict[str, Tensor]:
        """The inner objective's."""
        return self.objective.memory()

    def searches(self) -> int:
        """As many as the inner objective makes."""
        return self.objective.searches()


@dataclass(frozen=True)
class OnPart(Supervised):
    """A supervised objective of one part of the network, attacked and trained alone.

    Attributes:
        objective: of that part.
        part: path of a submodule that takes images and gives logits, such as ``members.1``.
    """

    objective: Supervised
    part: str

    def attacked(self, model: nn.Module, batch: Batch, target: Target) -> Sequence[Images]:
        """The worst inputs for the part."""
        return self.objective.attacked(model.get_submodule(self.part), batch, target)

    def loss_at(
        self, model: nn.Module, x_adv: Sequence[Images], batch: Batch, target: Target
    ) -> Loss:
        """The loss of the part."""
        return self.objective.loss_at(model.get_submodule(self.part), x_adv, batch, target)

    def memory(self) -> dict[str, Tensor]:
        """The inner objective's."""
        return self.objective.memory()

    def searches(self) -> int:
        """As many as the inner objective makes."""
        return self.objective.searches()
