"""Generalised adversarial training: robust to several threats at once, the worst one most.

min_θ max_{w ∈ simplex} Σ_i w_i F_i(θ) − γ/2 ‖w − 1/K‖²,  F_i = E max_{x' ∈ Δ_i(x)} loss(f_θ, x', y)

Source: Wang et al., NeurIPS 2021, arXiv 1906.03563, §4. The weights are one vector for the data,
which ascends by a step of `hauberk.ops.simplex.ascend` each time the network descends, or one for
each example, at their maximum; between equal weights (γ = ∞, the average) and all weight on each
example's worst threat (γ = 0, the maximum: Tramèr and Boneh, 2019, arXiv 1904.13000) lies the rest.

Departure: what a training attack of few steps finds is a lower bound of F_i, and a loose one for
some threats: beside ℓ∞ it takes ℓ1 for easy, when half of what seems to withstand it falls to a
longer search, and min-max then gives weight to the wrong threat. Every so often an `Audit` searches
longer; its gap is added to the losses that weights follow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hauberk.attack import Attack, frozen
from hauberk.attacks import PGD
from hauberk.batch import Batch
from hauberk.objectives.adversarial import Adversarial, search, warmed
from hauberk.objectives.supervised import Supervised, Target, accuracy
from hauberk.ops.simplex import ascend, check_player
from hauberk.problem import Loss
from hauberk.threat import Threat
from hauberk.types import Images, SampleLoss


class Weighting(ABC):
    """How much each threat counts."""

    @abstractmethod
    def __call__(
        self, losses: Float[Tensor, "batch domains"], batch: Batch
    ) -> Float[Tensor, "#batch domains"]:
        """The weights of this step, rows on the simplex; losses come without a graph."""

    def memory(self, domains: int) -> dict[str, Tensor]:
        """What it carries from step to step."""
        return {}


@dataclass(frozen=True)
class Shared(Weighting):
    """One vector of weights for all data, a step further after each one of the network.

    Attributes:
        rate: b, of the ascent, for losses in nats.
        gamma: γ, what keeps the weights together.
    """

    rate: float = 0.02
    gamma: float = 0.2

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        check_player(self.rate, self.gamma)

    def __call__(
        self, losses: Float[Tensor, "batch domains"], batch: Batch
    ) -> Float[Tensor, "1 domains"]:
        """The weights that were held; the step goes into the memory."""
        domains = losses.shape[1]
        held = batch.memory or self.memory(domains)
        w = held["weights"].to(losses).clone()
        means = {str(i): mean for i, mean in enumerate(losses.mean(0))}
        whole = torch.stack(list(batch.group.mean(means, batch.fraction).values()))
        held["weights"].copy_(ascend(w, whole.to(w), self.rate, self.gamma))
        return w[None]

    def memory(self, domains: int) -> dict[str, Tensor]:
        """The weights; equal at first."""
        return {"weights": torch.full((domains,), 1 / domains)}


@dataclass(frozen=True)
class PerSample(Weighting):
    """Weights for each example, at their maximum: ``argmax_w Σ_i w_i F_i(x) − γ/2 ‖w − 1/K‖²``.

    Attributes:
        gamma: γ; at 0 all weight is on the worst threat, at infinity the weights are equal.
    """

    gamma: float = 0.2

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        check_player(inf, self.gamma)

    def __call__(
        self, losses: Float[Tensor, "batch domains"], batch: Batch
    ) -> Float[Tensor, "batch domains"]:
        """Nothing is remembered."""
        return ascend(torch.zeros_like(losses), losses, inf, self.gamma)


AVERAGE, WORST = PerSample(inf), PerSample(0.0)
"""All threats alike; each example's worst alone."""


@dataclass(frozen=True)
class Audit:
    """A longer search on one batch of many, for what the training attack misses.

    The batch is trained on what it finds, and attacks that go on from their last ends go on there.

    Attributes:
        every: how many steps lie between two; 0 is never.
        attack: the search; by default a random start, in ℓ1 from outside the ball.
    """

    every: int = 16
    attack: Attack = field(default_factory=lambda: PGD(20, track=True))

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if self.every < 0:
            raise ValueError(f"audit was given as {self.every}; give 0 (never) or more steps.")

    def due(self, batch: Batch) -> bool:
        """Whether this step has one."""
        return bool(self.every) and batch.step is not None and batch.step % self.every == 0


@dataclass(frozen=True)
class WorstDomain(Supervised):
    """Adversarial loss under each part of a union of threats, weighed.

    Attributes:
        adversarial: the loss under one threat: its attack, clean share, warm-up and q. The parts
            of its threat are the domains.
        weighting: how much each one counts.
        audit: when a longer search looks at what the attack misses.
    """

    adversarial: Adversarial
    weighting: Weighting = field(default_factory=Shared)
    audit: Audit = field(default_factory=Audit)

    def attacked(self, model: nn.Module, batch: Batch, target: Target) -> Sequence[Images]:
        """What is worst within each threat, for the network as it would ship."""
        whole = warmed(self.adversarial.threat, self.adversarial.warmup, batch.progress)
        parts = whole.parts()
        starts = batch.warm_start.split(len(parts)) if batch.warm_start else [None] * len(parts)

        def loss(x: Images) -> Tensor:
            return target.worst(model(x).float())

        own = [replace(batch, warm_start=start) for start in starts]
        with frozen(model):
            found = [
                search(loss, of, self.adversarial.attack, part)
                for of, part in zip(own, parts, strict=True)
            ]
            return self._audited(loss, own, parts, found) if self.audit.due(batch) else found

    def loss_at(
        self, model: nn.Module, x_adv: Sequence[Images], batch: Batch, target: Target
    ) -> Loss:
        """The weighed loss; ``robust`` is who withstands all, beside each threat's own."""
        logits = [model(x).float() for x in x_adv]
        losses = torch.stack([target.each(z, self.adversarial.q) for z in logits], 1)
        missed = batch.memory.get("missed", losses.new_zeros(()))
        w = self.weighting(losses.detach() + (0 if self.audit.due(batch) else missed), batch)
        value = (w * losses).sum(1).mean()
        metrics = {"robust": _all_right(logits, batch), **self._seen(logits, w, batch)}
        clean = self.adversarial.clean
        if clean:
            unharmed = model(batch.x).float()
            value = (1 - clean) * value + clean * target.loss(unharmed)
            metrics["clean"] = accuracy(unharmed, batch.y)
        return Loss(value, metrics)

    def memory(self) -> dict[str, Tensor]:
        """The weighting's, and by how much the last audit's losses were above the attack's."""
        domains = self.searches()
        missed = {"missed": torch.zeros(domains)} if self.audit.every else {}
        return self.weighting.memory(domains) | missed

    def searches(self) -> int:
        """One attack for each threat."""
        return len(self.adversarial.threat.parts())

    @torch.no_grad()
    def _audited(
        self,
        loss: SampleLoss,
        batches: Sequence[Batch],
        parts: Sequence[Threat],
        found: Sequence[Images],
    ) -> list[Images]:
        """For each threat and example the worse of what was found and a longer search's end."""
        ends, missed = list[Images](), dict[str, Tensor]()
        for of, part, x_adv in zip(batches, parts, found, strict=True):
            longer = self.audit.attack(loss, of.x, part, of.rng)
            before, after = loss(x_adv), loss(longer)
            worse = after > before
            ends.append(torch.where(worse.view(-1, *[1] * (of.x.ndim - 1)), longer, x_adv))
            missed[str(len(missed))] = (after - before).clamp(min=0).mean()
            if of.warm_start:
                of.warm_start.keep(ends[-1], of.x, part.radius())
        whole = batches[0].group.mean(missed, batches[0].fraction)
        if "missed" in batches[0].memory:
            batches[0].memory["missed"].copy_(torch.stack(list(whole.values())))
        return ends

    @torch.no_grad()
    def _seen(self, logits: list[Tensor], w: Tensor, batch: Batch) -> dict[str, Tensor]:
        names = [part.name for part in self.adversarial.threat.parts()]
        shares = {f"robust_{n}": accuracy(z, batch.y) for n, z in zip(names, logits, strict=True)}
        return shares | {f"weight_{n}": m for n, m in zip(names, w.mean(0), strict=True)}


@torch.no_grad()
def _all_right(logits: list[Tensor], batch: Batch) -> Tensor:
    """Share of examples that are right under every threat."""
    right = torch.stack([z.argmax(1) == batch.y for z in logits])
    return right.all(0).float().mean()
