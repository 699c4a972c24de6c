"""Robust accuracy: the examples that stay correct under an attack, or a transferred one.

robust_i = min_{r, k} [ argmax f(x_i^{r,k}) = y_i ],  x_i^{r,k} = the k-th point that the attack
queries from random start r (the last alone, if the attack does not track); over all parts of a
union of threats
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.attack import Attack
from hauberk.attacks import PGD, losses
from hauberk.evaluation.frozen_copy import FrozenCopy, freeze
from hauberk.evaluation.proportion import Mask, Proportion
from hauberk.evaluation.subject import Subject, right
from hauberk.ops.random import generator
from hauberk.threat import Threat
from hauberk.types import Images, Labels, SampleLoss

Progress: TypeAlias = Callable[[int, int, str], None]
"""Progress callback: the work done, the total, and a note on the current step."""


_TRANSFER = PGD(50, track=True)


def silent(done: int, total: int, note: str) -> None:
    """No-op progress callback.

    Args:
        done: work done.
        total: work in all, in the same unit.
        note: the current step, in a few words.
    """


def under_attack(
    subject: Subject, attack: Attack, *, restarts: int = 1, progress: Progress = silent
) -> Mask:
    """A mask of the examples that stay correct in the worst restart (and on the clean image).

    The attack maximises the cross-entropy. If it tracks, an example is fooled by any point on the
    way, and leaves the batch soon after.

    Args:
        subject: the classifier, examples, threat and seed.
        attack: how it searches.
        restarts: independent starts for each example, at least 1.
        progress: called with the examples done, and a note on how many are still robust.

    Raises:
        ValueError: fewer than one restart.
    """
    if restarts < 1:
        raise ValueError(f"restarts was given as {restarts}; give at least 1.")
    robust, count = subject.clean.clone(), len(subject.examples)
    rounds = [(restart, part) for restart in range(restarts) for part in subject.threat.parts()]
    total = len(rounds) * count
    for number, (restart, threat) in enumerate(rounds):
        for start, places in subject.in_batches(robust):
            rng = generator(subject.seed, "evaluate", restart, start)
            robust[places] = _withstand(subject, places, threat, attack, rng)
            done = number * count + start + len(places)
            progress(done, total, f"attack, {Proportion.of(robust)} left")
    progress(total, total, f"attack, {Proportion.of(robust)} left")
    return robust


def _withstand(
    subject: Subject, places: Tensor, threat: Threat, attack: Attack, rng: torch.Generator
) -> Mask:
    """A mask of the examples that are correct at the final point and at every tracked point."""
    y, x, x_adv = subject.examples.y[places], subject.examples.images(places), None
    pieces = attack.pieces(threat)
    if not pieces:
        return subject.withstands(
            attack(cross_entropy(subject.model, y), x, threat, rng), places, threat
        )
    robust = torch.ones_like(y, dtype=torch.bool)
    left = robust.nonzero()[:, 0]
    for piece in pieces:
        tracked = _Tracked(subject.model, y[left], threat, x)
        x_adv = piece(tracked, x, threat, rng, x_adv)
        stays = tracked.right
        if not stays.all():  # the verdict is that of the function without a gradient
            stays |= subject.withstands(tracked.points, places[left], threat)
        robust[left] = stays
        left, x, x_adv = left[stays], x[stays], x_adv[stays]
        if not len(left):
            return robust
    assert x_adv is not None
    robust[left] = subject.withstands(x_adv, places[left], threat)
    return robust


class _Tracked:
    """The cross-entropy; it notes the examples that are wrong at a point it is evaluated at.

    Only threats whose search starts outside the set are tested for membership, which takes time.

    Attributes:
        right: whether each example was correct at every point.
        points: for each example that was not, the last point at which it was wrong.
    """

    def __init__(self, model: FrozenCopy, y: Labels, threat: Threat, centre: Images) -> None:
        self.model, self.y, self.threat, self.centre = model, y, threat, centre
        self.right = torch.ones_like(y, dtype=torch.bool)
        self.points = centre.clone()

    def __call__(self, x: Images) -> Tensor:
        logits: Tensor = self.model(x)
        correct = right(logits.detach(), self.y)
        if self.threat.approach(1):
            correct |= ~self.threat.inside(x, self.centre)
        self.points[~correct] = x.detach()[~correct]
        self.right &= correct
        return F.cross_entropy(logits, self.y, reduction="none")


def transferred(subject: Subject, source: nn.Module, attack: Attack = _TRANSFER) -> Mask:
    """A mask of the examples that stay correct at the points that an attack finds on another net.

    Args:
        subject: the classifier; its gradient is not used.
        source: the net that is attacked, such as the dense one, on the same device.
        attack: on the source.
    """
    frozen, examples, survives = freeze(source), subject.examples, subject.clean.clone()
    for threat in subject.threat.parts():
        for start, places in subject.in_batches(survives):
            rng = generator(subject.seed, "transfer", start)
            loss = cross_entropy(frozen, examples.y[places])
            x_adv = attack(loss, examples.images(places), threat, rng)
            survives[places] &= subject.withstands(x_adv, places, threat)
    return survives


def cross_entropy(model: nn.Module, y: Labels) -> SampleLoss:
    """``x ↦ −log softmax(f(x))_y``, per example."""
    return lambda x: losses.cross_entropy(model(x), y)


def margin(model: nn.Module, y: Labels) -> SampleLoss:
    """``x ↦ max_{k ≠ y} f_k(x) − f_y(x)``, per example: positive where the network is wrong."""
    return lambda x: losses.margin(model(x), y)
