"""A classifier as it answers images of eight bits, which all stored images are.

    f₈(x) = f(round(255 x)/255),   Δ₈(x) = the points of Δ(x) whose pixels are k/255

A decoy between the levels gives attacks that move by fractions of a level another network, or
another gradient. Attacks that ask f₈ meet the network that a stored image meets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from hauberk.attack import input_gradient
from hauberk.evaluation.accuracy import margin
from hauberk.evaluation.frozen_copy import freeze
from hauberk.evaluation.subject import Subject
from hauberk.ops.pixel_levels import LEVELS, nearest, on_levels, whole_radius
from hauberk.ops.random import generator, uniform_like
from hauberk.threats import Linf
from hauberk.types import Images

_IMAGES = 32
"""Images on which a decoy is looked for."""
_MOVED, _MANY = 0.1, 0.2
"""A logit that moves by more of the spread counts, and more of the images must not be so."""
_WHOLE = 0.999
"""If whole levels reach so much of the radius, images of eight bits stand for all others."""


class OnGrid(nn.Module):
    """A network that is asked at images of eight bits.

    Args:
        net: to logits.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Images) -> Tensor:
        """The logits of the nearest image of eight bits."""
        logits: Tensor = self.net(nearest(x))
        return logits


def on_grid(subject: Subject) -> Subject | None:
    """The subject at images of eight bits; ``None`` if its examples or its threat hold no others.

    In ℓ∞ the radius becomes a whole number of levels, so that rounding does not leave the set.
    """
    threat = subject.threat
    if not on_levels(subject.examples.first(_IMAGES).images()):
        return None
    if isinstance(threat, Linf):
        eps = whole_radius(threat.radius())
        if not eps:
            return None
        threat = Linf(eps)
    model = freeze(OnGrid(subject.model))
    return replace(subject, model=model, threat=threat, eight_bits=True)


def ways_to_ask(subject: Subject) -> tuple[Subject, ...]:
    """The subjects that attacks by answers should ask, the likeliest to be fooled first.

    Images of eight bits, all others, or both if the answers differ.
    """
    grid = on_grid(subject)
    if grid is None:
        return (subject,)
    if notices_grid(subject):
        return (grid, subject)
    return (grid,) if grid.threat.radius() >= _WHOLE * subject.threat.radius() else (subject,)


def notices_grid(subject: Subject) -> bool:
    """Whether answers to images between the levels of eight bits are those of other images.

    Compared are points and the nearest levels: images moved by a third of a level, by random parts
    of one, random points of the threat, and points along the gradient.
    """
    x = nearest(subject.examples.first(_IMAGES).images())
    return any(_other_answers(subject, points) for points in _between(subject, x))


def _between(subject: Subject, x: Images) -> Iterator[Images]:
    """Points between the levels."""
    rng, y = generator(subject.seed, "eight bits"), subject.examples.y[: len(x)]
    part = 1 / LEVELS
    yield x + part / 3 * torch.where(x < 1, 1, -1)
    drawn = uniform_like(x, rng)
    yield (x + part * (drawn - 0.5) * 0.98).clamp(0, 1)
    threat = subject.threat.parts()[0]
    yield threat.sample(x, rng)
    _, grad = input_gradient(margin(subject.model, y), x)
    for length in (0.5, 1.0):
        shifted = x + length * threat.radius() * threat.step(grad, x)
        yield threat.project(shifted + part / 3, x)


def _other_answers(subject: Subject, points: Images) -> bool:
    with torch.no_grad():
        there, here = subject.model(points), subject.model(nearest(points))
    spread = (here.amax(1) - here.amin(1)).median()
    moved = (there - here).abs().amax(1) > _MOVED * spread
    return float(moved.double().mean()) > _MANY
