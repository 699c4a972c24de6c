"""Line search: the weight of an ensemble's newest member, on held-out images under attack.

    α* = argmin_{α ∈ {0, 1/16, …, 2}}  E max_{x' ∈ Δ(x)} loss(F(x') + α h(x'), y)

The logits are linear in α and the loss is convex in the logits, so the loss at a fixed x' is convex
in α, and so is the maximum over x'. Bisection over neighbouring values therefore finds the minimum,
up to the attack's own error: each value has an attack of its own, from the same random numbers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from hauberk.attacks import PGD
from hauberk.dataset import Examples
from hauberk.models.ensemble import Ensemble
from hauberk.objectives import Hard
from hauberk.ops.random import generator
from hauberk.threat import Threat
from hauberk.types import Images, Labels

_HELD_OUT = 500
"""Most images that are attacked for each value of α."""
_BATCH = 250
_FINEST = 16
_MOST = 2 * _FINEST
_MARGIN = 0.02
"""Accuracy above chance, below which a member has collapsed."""


@dataclass(frozen=True)
class HeldOut:
    """A sum on held-out images, each attacked on the whole sum.

    Attributes:
        loss: mean under attack.
        robust: fraction of the images that the sum classifies correctly under attack.
        newest: fraction of the same attacked images that its newest member does alone.
    """

    loss: float
    robust: float
    newest: float


@dataclass(frozen=True)
class LineSearch:
    """Measures sums on held-out images, and weighs their newest member.

    Attributes:
        threat: what the adversary may do.
        examples: held-out images.
        steps: of PGD, which returns the worst image that it saw.
        target: the loss that is minimised, made of labels.

    Raises:
        ValueError: there are no images.
    """

    threat: Threat
    examples: Examples
    steps: int
    target: Callable[[Labels], Hard]

    def __post_init__(self) -> None:
        if not len(self.examples):
            raise ValueError(
                "The data have no validation examples, on which boosting weighs each member; give "
                "data with a validation split."
            )

    @property
    def chance(self) -> float:
        """The accuracy below which a network is no better than one constant answer."""
        return float(torch.bincount(self.examples.y).max()) / len(self.examples) + _MARGIN

    def weigh(self, model: Ensemble) -> tuple[float, HeldOut]:
        """The weight of the newest member, and the sum with it; ``model`` is not changed.

        The weight of a first member is not 0. It changes no answer, but a network that is too sure
        of itself on new images would otherwise be opposed by the next member.
        """
        least = 0 if len(model.members) > 1 else 1

        @cache
        def loss(sixteenths: int) -> float:
            return self.look(model, sixteenths / _FINEST).loss

        low, high = least, _MOST
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if loss(middle) <= loss(middle + 1) else (middle + 1, high)
        best = min((least, low, _FINEST), key=loss) / _FINEST
        return best, self.look(model, best)

    @torch.no_grad()
    def look(self, model: Ensemble, alpha: float = 1.0) -> HeldOut:
        """The sum with this weight of its newest member; ``model`` is not changed.

        It is a function of the weights, so that a resumed run finds the same.
        """
        net = copy.deepcopy(model).eval().requires_grad_(False)
        net.alpha[-1] = alpha
        loss = right = own = 0.0
        for _, x_adv, y in self._attacked(net):
            loss += float(self.target(y).worst(net(x_adv)).sum())
            right += int((net(x_adv).argmax(1) == y).sum())
            own += int((net.members[-1](x_adv).argmax(1) == y).sum())
        count = min(len(self.examples), _HELD_OUT)
        return HeldOut(*(total / count for total in (loss, right, own)))

    def spreads(self, model: Ensemble) -> list[float]:
        """The largest spread of each member's logits but the first's, clean and under attack.

        Args:
            model: the sum that is attacked; it is not changed.
        """
        net = copy.deepcopy(model).eval().requires_grad_(False)
        seen = [net.seen_spreads(torch.cat([x, x_adv])) for x, x_adv, _ in self._attacked(net)]
        return [max(member) for member in zip(*seen, strict=True)]

    @torch.no_grad()
    def _attacked(self, net: Ensemble) -> Iterator[tuple[Images, Images, Labels]]:
        """Batches of the held-out images, clean and attacked on the whole sum, and their labels."""
        examples = self.examples.first(_HELD_OUT).to(net.alpha.device)
        for number, (x, y) in enumerate(examples.batches(_BATCH)):
            target = self.target(y)

            def worst(x: Tensor, target: Hard = target) -> Tensor:
                return target.worst(net(x))

            rng = generator(0, "line search", number, device=y.device)
            yield x, PGD(self.steps, track=True)(worst, x, self.threat, rng), y
