"""Certified training: the loss at the worst logits that interval bounds allow.

    (1 − a) · loss(f(x'), y)  +  a · CE(−b(x), y),     b_j ≤ min_{x' ∈ Δ(x)} z_y − z_j

a = 1 is interval bound propagation (IBP), in between it is MTL-IBP. The threat grows from nothing
over the warm-up of the stage. The bounds need no attack, so a = 1 makes none: its first term is
gone, and the clean loss takes its place with the weight ``clean``.

Sources: Gowal et al. (2018), arXiv 1810.12715; De Palma et al. (2024), arXiv 2305.13991, §4.2
(MTL-IBP). Departures: the bounds take batch norm's statistics of the box's centre; no
regulariser and no special initialisation (Shi et al., 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.batch import Batch
from hauberk.bounds.live import live
from hauberk.bounds.region import Region
from hauberk.objectives.adversarial import Adversarial, warmed
from hauberk.objectives.supervised import Supervised, Target, accuracy
from hauberk.problem import Loss
from hauberk.types import Images


@dataclass(frozen=True)
class CertifiedLoss(Supervised):
    """An adversarial loss, and the loss at the worst logits that intervals allow.

    Attributes:
        adversarial: the threat, the attack, the warm-up.
        share: a, weight of the bounds' loss, in (0, 1].

    Raises:
        ValueError: a weight outside its range.
    """

    adversarial: Adversarial
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(
                f"CertifiedLoss was given share={self.share}; give a weight in (0, 1]."
            )

    def attacked(self, model: nn.Module, batch: Batch, target: Target) -> Sequence[Images]:
        """What the adversarial loss attacks; nothing if the bounds have the whole weight."""
        return () if self.share == 1 else self.adversarial.attacked(model, batch, target)

    def loss_at(
        self, model: nn.Module, x_adv: Sequence[Images], batch: Batch, target: Target
    ) -> Loss:
        """The mixed loss, with ``certified`` accuracy by intervals for the log."""
        margins = self._margins(model, batch)
        bounded = F.cross_entropy(-margins, batch.y)
        certified = (margins.scatter(1, batch.y[:, None], torch.inf) > 0).all(1).float().mean()
        metrics = {"certified": certified.detach()}
        if x_adv:
            loss = self.adversarial.loss_at(model, x_adv, batch, target)
            value = (1 - self.share) * loss.value + self.share * bounded
            return Loss(value, {**loss.metrics, **metrics})
        logits, clean = model(batch.x).float(), self.adversarial.clean
        value = (1 - clean) * bounded + clean * target.loss(logits)
        return Loss(value, {"clean": accuracy(logits, batch.y), **metrics})

    def _margins(self, model: nn.Module, batch: Batch) -> Tensor:
        """The least margins over all parts of the threat."""
        parts = warmed(self.adversarial.threat, self.adversarial.warmup, batch.progress).parts()
        boxes = [Region.of(batch.x, part).box for part in parts]
        found = [
            live(model, type(b)(b.low.float(), b.high.float())).margins(batch.y) for b in boxes
        ]
        return torch.stack(found).amin(0)

    def memory(self) -> dict[str, Tensor]:
        """The adversarial loss's."""
        return self.adversarial.memory()

    def searches(self) -> int:
        """As many as the adversarial loss makes."""
        return self.adversarial.searches()
