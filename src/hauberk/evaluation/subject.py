"""The subject of an evaluation: a frozen classifier, examples, a threat, a seed.

clean_i = [ argmax f(x_i) = y_i ]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from hauberk.dataset import Examples
from hauberk.evaluation.frozen_copy import FrozenCopy, freeze
from hauberk.evaluation.proportion import Mask
from hauberk.ops.pixel_levels import nearest, toward
from hauberk.threat import Threat
from hauberk.types import Images, Labels


@dataclass(frozen=True)
class Subject:
    """A classifier under evaluation; `Subject.of` makes one.

    Attributes:
        model: frozen copy of the network, to logits (batch, class).
        examples: those that are attacked, on the device of the model.
        threat: what the adversary may do.
        clean: mask of the examples that are classified correctly without an attack.
        seed: random seed of every random start.
        batch_size: examples at a time. Equal seeds and batch sizes give equal results.
        eight_bits: whether only images of eight bits can fool it, see `on_grid`.
    """

    model: FrozenCopy
    examples: Examples
    threat: Threat
    clean: Mask
    seed: int = 0
    batch_size: int = 500
    eight_bits: bool = False

    @classmethod
    def of(
        cls,
        model: nn.Module,
        examples: Examples,
        threat: Threat,
        *,
        seed: int = 0,
        batch_size: int = 500,
    ) -> Subject:
        """Freeze a copy of the network and classify the clean examples.

        Args:
            model: to logits (batch, class); it is left untouched.
            examples: those to attack, on the device of the model.
            threat: what the adversary may do.
            seed: random seed of every random start.
            batch_size: examples at a time.
        """
        frozen = freeze(model)
        return cls(frozen, examples, threat, clean(frozen, examples, batch_size), seed, batch_size)

    def first(self, limit: int | None) -> Subject:
        """The same on the first ``limit`` examples (all of them for ``None``)."""
        return replace(self, examples=self.examples.first(limit), clean=self.clean[:limit])

    def only(self, wanted: Mask) -> Subject:
        """The same with the wanted examples as those to attack; the others count as lost."""
        return replace(self, clean=wanted)

    def withstands(self, x_adv: Images, places: Tensor, threat: Threat | None = None) -> Mask:
        """The verdict on one point for each of the given examples, by the function that ships.

        It is computed without a gradient. A point outside of the threat, or that is no number,
        fools nobody. The point is also tried rounded to an image of eight bits: to the nearest
        levels, or towards the example where these lie outside of the threat.

        Args:
            x_adv: the points.
            places: indices of their examples.
            threat: the set that they must be in; by default that of the subject.
        """
        x, y, around = self.examples.images(places), self.examples.y[places], threat or self.threat
        rounded = nearest(x_adv)
        rounded = torch.where(_like(around.inside(rounded, x), x), rounded, toward(x_adv, x))
        survives = torch.ones_like(y, dtype=torch.bool)
        for points in (rounded,) if self.eight_bits else (x_adv, rounded):
            valid = around.inside(points, x) & points.flatten(1).isfinite().all(1)
            survives &= ~valid | agrees(self.model, torch.where(_like(valid, x), points, x), y)
        return survives

    def within(self, threat: Threat) -> Subject:
        """The same under another threat."""
        return replace(self, threat=threat)

    def in_batches(self, wanted: Mask) -> Iterator[tuple[int, Tensor]]:
        """The indices of the wanted examples, a batch at a time.

        Yields:
            The number of examples before the batch, and its indices.
        """
        places = wanted.nonzero()[:, 0]
        for start in range(0, len(places), self.batch_size):
            yield start, places[start : start + self.batch_size]


def _like(mask: Mask, x: Images) -> Tensor:
    return mask.view(-1, *[1] * (x.ndim - 1))


def clean(model: nn.Module, examples: Examples, batch_size: int = 500) -> Mask:
    """A mask of the examples that the network classifies correctly.

    Args:
        model: to logits (batch, class); it is left untouched.
        examples: on the device of the model.
        batch_size: examples at a time.
    """
    frozen = freeze(model)
    return torch.cat([agrees(frozen, x, y) for x, y in examples.batches(batch_size)])


def agrees(model: nn.Module, x: Images, y: Labels) -> Mask:
    """Whether the network answers ``y`` for each of ``x``; NaN logits count as wrong.

    Args:
        model: to logits (batch, class).
        x: images (batch, …) in [0, 1].
        y: class indices (batch,).
    """
    with torch.no_grad():
        return right(model(x), y)


def right(logits: Tensor, y: Labels) -> Mask:
    """Whether the largest logit is that of ``y``; NaN logits count as wrong."""
    return (logits.argmax(1) == y) & ~logits.isnan().any(1)
