"""TRADES (Zhang et al., 2019, arXiv 1901.08573, eq. 5).

min_w E [ loss(f_w, x, y) + β · max_{x' ∈ Δ(x)} KL( f_w(x) ‖ f_w(x') ) ]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from hauberk.attack import Attack, frozen
from hauberk.attacks import PGD
from hauberk.batch import Batch
from hauberk.objectives.adversarial import search, warmed
from hauberk.objectives.supervised import Supervised, Target, accuracy, divergence
from hauberk.problem import Loss
from hauberk.threat import Threat
from hauberk.types import Images


@dataclass(frozen=True)
class Trades(Supervised):
    """Clean loss, and how far the prediction can be pushed away from its own clean value.

    Attributes:
        threat: what the adversary may do.
        attack: how it searches; it needs a random start, for the gradient is zero at ``x``.
        beta: weight of the robustness term (the paper uses 1 to 6).
        warmup: share of the stage over which the threat grows to its full size.
    """

    threat: Threat
    attack: Attack = field(default_factory=PGD)
    beta: float = 6.0
    warmup: float = 0.0

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if not self.beta >= 0:
            raise ValueError(f"Trades was given beta={self.beta}; give a weight of 0 or more.")

    def attacked(self, model: nn.Module, batch: Batch, target: Target) -> Sequence[Images]:
        """What moves the network's own answers furthest, whatever the target."""
        threat = warmed(self.threat, self.warmup, batch.progress)
        with frozen(model):
            reference = model(batch.x).float().log_softmax(1).detach()

            def pushed(x: Images) -> Tensor:
                return divergence(reference, model(x).float().log_softmax(1))

            return (search(pushed, batch, self.attack, threat),)

    def loss_at(
        self, model: nn.Module, x_adv: Sequence[Images], batch: Batch, target: Target
    ) -> Loss:
        """The regularised loss, with ``clean`` and ``robust`` accuracy."""
        clean, robust = model(batch.x).float(), model(x_adv[0]).float()
        spread = divergence(clean.log_softmax(1), robust.log_softmax(1)).mean()
        return Loss(
            target.loss(clean) + self.beta * spread,
            {"clean": accuracy(clean, batch.y), "robust": accuracy(robust, batch.y)},
        )
