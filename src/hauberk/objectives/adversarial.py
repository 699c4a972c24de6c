"""Adversarial training (Madry et al., 2018, arXiv 1706.06083), with a share of clean loss.

min_w E [ (1 − c) · max_{x' ∈ Δ(x)} loss_q(f_w, x', y) + c · loss(f_w, x, y) ]

loss_q = (1 − p_y^q) / q is cross-entropy at q = 0 and saturates for larger q (generalised
cross-entropy: Zhang and Sabuncu, 2018, arXiv 1805.07836): a net too small to withstand every attack
then spends less of itself on the hopeless examples. It trades clean accuracy for robustness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hauberk.attack import Attack, frozen
from hauberk.attacks import PGD
from hauberk.batch import Batch
from hauberk.objectives.supervised import Supervised, Target, accuracy
from hauberk.problem import Loss
from hauberk.threat import Threat
from hauberk.types import Images, SampleLoss


@dataclass(frozen=True)
class Adversarial(Supervised):
    """The loss on inputs that an attack made worse: cross-entropy, against labels.

    Attributes:
        threat: what the adversary may do.
        attack: how it searches while training.
        clean: share ``c`` of the clean loss, in [0, 1); the ATMC code uses 0.5.
        warmup: share of the stage over which the threat grows from nothing to its full size.
        q: of the adversarial loss, in [0, 1]; the attack maximises what it would at 0.
    """

    threat: Threat
    attack: Attack = field(default_factory=PGD)
    clean: float = 0.0
    warmup: float = 0.0
    q: float = 0.0

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if not 0 <= self.clean < 1:
            raise ValueError(
                f"Adversarial was given clean={self.clean}; give a share in [0, 1), "
                "or use Natural for clean loss alone."
            )
        if not 0 <= self.warmup <= 1:
            raise ValueError(f"Adversarial was given warmup={self.warmup}; give a share in [0, 1].")
        if not 0 <= self.q <= 1:
            raise ValueError(f"Adversarial was given q={self.q}; give an exponent in [0, 1].")

    def attacked(self, model: nn.Module, batch: Batch, target: Target) -> Sequence[Images]:
        """What is worst within the threat, for the network as it would ship."""
        threat = warmed(self.threat, self.warmup, batch.progress)

        def loss(x: Images) -> Tensor:
            return target.worst(model(x).float())

        with frozen(model):
            return (search(loss, batch, self.attack, threat),)

    def loss_at(
        self, model: nn.Module, x_adv: Sequence[Images], batch: Batch, target: Target
    ) -> Loss:
        """The mixed loss, with ``robust`` (and, where it is computed, ``clean``) accuracy."""
        logits = model(x_adv[0]).float()
        value = target.loss(logits, self.q)
        metrics = {"robust": accuracy(logits, batch.y)}
        if self.clean:
            logits = model(batch.x).float()
            value = (1 - self.clean) * value + self.clean * target.loss(logits)
            metrics["clean"] = accuracy(logits, batch.y)
        return Loss(value, metrics)


def warmed(threat: Threat, warmup: float, progress: float) -> Threat:
    """The threat at ``progress``, growing linearly over the first ``warmup`` of the stage."""
    return threat.scaled(progress / warmup) if progress < warmup else threat


def search(loss: SampleLoss, batch: Batch, attack: Attack, threat: Threat) -> Images:
    """The attack on a batch; with warm starts it goes on from the perturbations found before.

    Where an example has none it begins at a random point, drawn for each row of the batch, so that
    random numbers do not depend on which rows a process has. From the clean image few steps do not
    see what lies beside the path that leaves it, and a network learns to be robust on that path
    alone: on MNIST, whose background is black, training without it loses 11 to 30 points by it
    (benchmarks/random_start_mnist.py).

    Source: ATTA (Zheng et al., 2020, arXiv 1912.11969).
    """
    warm_start, x, radius = batch.warm_start, batch.x, threat.radius()
    if warm_start is None:
        return attack(loss, x, threat, batch.rng)
    anywhere = warm_start.unknown().view(-1, *[1] * (x.ndim - 1))
    start = torch.where(anywhere, threat.sample(x, batch.rng), warm_start.start(x, radius))
    x_adv = attack(loss, x, threat, batch.rng, start)
    warm_start.keep(x_adv, x, radius)
    return x_adv
