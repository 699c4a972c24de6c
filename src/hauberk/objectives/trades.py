"""TRADES (Zhang et al., 2019, arXiv 1901.08573, eq. 5).

min_w E [ loss(f_w, x, y) + β · max_{x' ∈ Δ(x)} KL( f_w(x) ‖ f_w(x') ) ]

Departure: under several threats the maxima are weighed, as those of `Adversarial` are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from hauberk.attack import frozen
from hauberk.batch import Batch
from hauberk.objectives.adversarial import Adversarial
from hauberk.objectives.supervised import Supervised, Target, accuracy, divergence
from hauberk.problem import Loss
from hauberk.types import Images, PerSample


@dataclass(frozen=True, eq=False)
class _Anchored(Target):
    """The target on clean inputs, and on attacked ones the network's own clean answers.

    Attributes:
        target: what clean logits are compared with.
        clean: the network's clean logits, (batch, classes).
        beta: weight of the divergence from them.
    """

    target: Target
    clean: Tensor
    beta: float

    def each(self, logits: Tensor, q: float = 0.0) -> PerSample:
        """``loss(clean) + β KL(clean ‖ logits)``."""
        return self.target.each(self.clean, q) + self.beta * self.worst(logits)

    def worst(self, logits: Tensor) -> PerSample:
        """``KL(clean ‖ logits)``."""
        return divergence(self.clean.log_softmax(1), logits.log_softmax(1))


@dataclass(frozen=True)
class Trades(Supervised):
    """Clean loss, and how far the prediction can be pushed away from its own clean value.

    Attributes:
        adversarial: the threat, the attack, the warm-up, the weights of several threats. The attack
            needs a random start, for the gradient is zero at ``x``.
        beta: weight of the robustness term (the paper uses 1 to 6).

    Raises:
        ValueError: a negative weight, or an adversarial loss with ``clean`` or ``q`` of its own.
    """

    adversarial: Adversarial
    beta: float = 6.0

    def __post_init__(self) -> None:
        if not self.beta >= 0:
            raise ValueError(f"Trades was given beta={self.beta}; give a weight of 0 or more.")
        if self.adversarial.clean or self.adversarial.q:
            raise ValueError(
                f"Trades was given clean={self.adversarial.clean} and q={self.adversarial.q}; "
                "leave them out: it has the whole clean loss, and no saturating one."
            )

    def attacked(self, model: nn.Module, batch: Batch, target: Target) -> Sequence[Images]:
        """The inputs that move the network's own answers furthest, whatever the target."""
        with frozen(model):
            clean = model(batch.x).float().detach()
        return self.adversarial.attacked(model, batch, _Anchored(target, clean, self.beta))

    def loss_at(
        self, model: nn.Module, x_adv: Sequence[Images], batch: Batch, target: Target
    ) -> Loss:
        """The regularised loss, with ``clean`` and the adversarial loss's own accuracies."""
        clean = model(batch.x).float()
        anchored = _Anchored(target, clean, self.beta)
        loss = self.adversarial.loss_at(model, x_adv, batch, anchored)
        return Loss(loss.value, {"clean": accuracy(clean, batch.y), **loss.metrics})

    def memory(self) -> dict[str, Tensor]:
        """The adversarial loss's."""
        return self.adversarial.memory()

    def searches(self) -> int:
        """As many as the adversarial loss makes."""
        return self.adversarial.searches()
