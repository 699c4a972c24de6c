"""Adversarial training under one threat or several, mixed with a fraction of clean loss.

min_w E [ (1 − c) Σ_i w_i max_{x' ∈ Δ_i(x)} loss_q(f_w, x', y) + c · loss(f_w, x, y) ]

Sources: Madry et al., 2018, arXiv 1706.06083, for one threat; Wang et al., NeurIPS 2021, arXiv
1906.03563, §4, for several, whose weights w are a `Weighting`'s. loss_q = (1 − p_y^q) / q is
cross-entropy at q = 0 and saturates for larger q (generalised cross-entropy: Zhang and Sabuncu,
2018, arXiv 1805.07836): a net too small to withstand every attack then spends less capacity on the
hopeless examples. It trades clean accuracy for robustness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from hauberk.attack import Attack, frozen
from hauberk.attacks import PGD
from hauberk.batch import Batch
from hauberk.objectives.audit import Audit
from hauberk.objectives.supervised import Supervised, Target, accuracy
from hauberk.objectives.weighting import SharedWeights, Weighting
from hauberk.problem import Loss
from hauberk.threat import Threat
from hauberk.types import Images, SampleLoss


@dataclass(frozen=True)
class Adversarial(Supervised):
    """The loss on inputs that attacks made worse; each part of a union of threats has its attack.

    Attributes:
        threat: what the adversary may do; the parts of a union are the threats that are weighed.
        attack: how it searches while training.
        clean: fraction ``c`` of the clean loss, in [0, 1); the ATMC code uses 0.5.
        warmup: fraction of the stage over which the threat grows from nothing to its full size.
        q: of the adversarial loss, in [0, 1]; the attack maximises what it would at 0.
        weighting: how much each of several threats counts.
        audit: when a longer search measures what the attacks of several threats miss.

    Raises:
        ValueError: a setting outside its range.
    """

    threat: Threat
    attack: Attack = field(default_factory=PGD)
    clean: float = 0.0
    warmup: float = 0.0
    q: float = 0.0
    weighting: Weighting = field(default_factory=SharedWeights)
    audit: Audit = field(default_factory=Audit)

    def __post_init__(self) -> None:
        if not 0 <= self.clean < 1:
            raise ValueError(
                f"Adversarial was given clean={self.clean}; give a fraction in [0, 1), "
                "or use Natural for clean loss alone."
            )
        if not 0 <= self.warmup <= 1:
            raise ValueError(
                f"Adversarial was given warmup={self.warmup}; give a fraction in [0, 1]."
            )
        if not 0 <= self.q <= 1:
            raise ValueError(f"Adversarial was given q={self.q}; give an exponent in [0, 1].")

    def attacked(self, model: nn.Module, batch: Batch, target: Target) -> Sequence[Images]:
        """The worst inputs within each threat, for the network as it would ship."""
        threats = warmed(self.threat, self.warmup, batch.progress).parts()
        starts = batch.warm_start.split(len(threats)) if batch.warm_start else [None] * len(threats)
        batches = [replace(batch, warm_start=start) for start in starts]

        def loss(x: Images) -> Tensor:
            return target.worst(model(x).float())

        with frozen(model):
            pairs = zip(batches, threats, strict=True)
            found = [search(loss, own, self.attack, threat) for own, threat in pairs]
            if self.audit.due(batch, len(threats)):
                return self.audit.search(loss, batches, threats, found)
            return found

    def loss_at(
        self, model: nn.Module, x_adv: Sequence[Images], batch: Batch, target: Target
    ) -> Loss:
        """The mixed loss, with ``robust`` (under all threats) and, if computed, ``clean`` accuracy.

        Of several threats each one's ``robust_NAME`` and ``weight_NAME`` are metrics, too.
        """
        logits = [model(x).float() for x in x_adv]
        losses = torch.stack([target.each(z, self.q) for z in logits], 1)
        w = self.weighting(losses.detach() + self.audit.gaps(batch, len(logits)), batch)
        value = (w * losses).sum(1).mean()
        metrics = {"robust": _all_right(logits, batch)}
        if len(logits) > 1:
            metrics |= self._by_threat(logits, w, batch)
        if self.clean:
            unharmed = model(batch.x).float()
            value = (1 - self.clean) * value + self.clean * target.loss(unharmed)
            metrics["clean"] = accuracy(unharmed, batch.y)
        return Loss(value, metrics)

    def memory(self) -> dict[str, Tensor]:
        """The weights, and the gaps of the last audit."""
        threats = self.searches()
        return self.weighting.memory(threats) | self.audit.memory(threats)

    def searches(self) -> int:
        """One attack for each threat."""
        return len(self.threat.parts())

    @torch.no_grad()
    def _by_threat(self, logits: list[Tensor], w: Tensor, batch: Batch) -> dict[str, Tensor]:
        names = [part.name for part in self.threat.parts()]
        robust = {f"robust_{n}": accuracy(z, batch.y) for n, z in zip(names, logits, strict=True)}
        return robust | {f"weight_{n}": m for n, m in zip(names, w.mean(0), strict=True)}


@torch.no_grad()
def _all_right(logits: list[Tensor], batch: Batch) -> Tensor:
    """Fraction of examples that are classified correctly under every threat."""
    right = torch.stack([z.argmax(1) == batch.y for z in logits])
    return right.all(0).float().mean()


def warmed(threat: Threat, warmup: float, progress: float) -> Threat:
    """The threat at this point of a stage; its radius grows linearly during warm-up.

    Args:
        threat: of full size.
        warmup: fraction of the stage until the threat has its full size.
        progress: fraction of the stage that is done.
    """
    return threat.scaled(progress / warmup) if progress < warmup else threat


def search(loss: SampleLoss, batch: Batch, attack: Attack, threat: Threat) -> Images:
    """The attack on a batch; with warm starts it continues from the previous perturbations.

    An example without one starts at a random point, drawn for each row of the batch, so that random
    numbers do not depend on which rows a process has. From the clean image a few steps explore only
    one path, and a network learns to be robust on that path alone: on MNIST, whose background is
    black, training from clean images loses 11 to 30 points by it
    (benchmarks/random_start_mnist.py).

    Args:
        loss: images to one loss per example; it is raised.
        batch: the clean images; its warm starts are updated.
        attack: the search.
        threat: the set that is searched.

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
