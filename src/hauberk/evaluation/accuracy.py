"""Who is right, example by example, on clean and on attacked inputs.

correct_i = [ argmax f(x_i) = y_i ],   robust_i = min_{r, k} [ argmax f(x_i^{r,k}) = y_i ],
x_i^{r,k} = the k-th point that the attack asks about from random start r, its answer the last; the
answer alone, where the attack does not track; in a union of threats, of all its members
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.attack import Attack
from hauberk.attacks import PGD, losses
from hauberk.dataset import Examples
from hauberk.evaluation.frozen_copy import Sealed, seal
from hauberk.evaluation.proportion import Mask, Proportion
from hauberk.ops.random import generator
from hauberk.threat import Threat
from hauberk.types import Images, Labels, SampleLoss

Progress: TypeAlias = Callable[[int, int, str], None]
"""Called with what is done, the total, and a few words on what runs."""


def silent(done: int, total: int, note: str) -> None:
    """The progress that nobody watches."""


def clean(model: nn.Module, examples: Examples, batch_size: int = 500) -> Mask:
    """Which examples the network classifies correctly.

    Args:
        model: to logits (batch, class); it is left untouched.
        examples: on the device of the model.
        batch_size: examples at a time.
    """
    sealed = seal(model)
    return torch.cat([agrees(sealed, x, y) for x, y in examples.batches(batch_size)])


def under_attack(
    model: nn.Module,
    examples: Examples,
    threat: Threat,
    attack: Attack,
    *,
    seed: int,
    batch_size: int = 500,
    restarts: int = 1,
    progress: Progress = silent,
) -> Mask:
    """Which examples stay correct in the worst of all restarts (and on the clean image).

    The attack maximises the cross-entropy. Where it tracks, an example is fooled by any point on
    the way, and leaves the batch soon after. Equal seed and batch size give equal verdicts.

    Args:
        model: to logits (batch, class); it is left untouched.
        examples: on the device of the model.
        threat: what the adversary may do.
        attack: how it searches.
        seed: of the random starts.
        batch_size: examples at a time.
        restarts: independent starts for each example, at least 1.
        progress: told of examples done, and of how many are still robust, with its interval.

    Raises:
        ValueError: no restart at all.
    """
    if restarts < 1:
        raise ValueError(f"An evaluation was given {restarts} restarts: give at least 1.")
    sealed = seal(model)
    robust = clean(sealed, examples, batch_size)
    rounds = [(restart, member) for restart in range(restarts) for member in threat.parts()]
    total = len(rounds) * len(examples)
    for number, (restart, member) in enumerate(rounds):
        left = robust.nonzero()[:, 0]
        for start in range(0, len(left), batch_size):
            part = left[start : start + batch_size]
            rng = generator(seed, "evaluate", restart, start)
            robust[part] = _withstand(sealed, examples, part, member, attack, rng)
            progress(
                number * len(examples) + start + len(part),
                total,
                f"attack, {Proportion.of(robust)} left",
            )
    progress(total, total, f"attack, {Proportion.of(robust)} left")
    return robust


def _withstand(
    sealed: Sealed,
    examples: Examples,
    part: Tensor,
    threat: Threat,
    attack: Attack,
    rng: torch.Generator,
) -> Mask:
    """Which of the examples ``part`` are right where the attack ends, and wherever it tracks."""
    legs = attack.legs(threat)
    if not legs:
        answer = adversarial(sealed, examples, part, threat, attack, rng)
        return agrees(sealed, answer, examples.y[part])
    robust = torch.ones_like(part, dtype=torch.bool)
    left = robust.nonzero()[:, 0]  # places in ``part``
    x, x_adv = examples.images(part), None
    for leg in legs:
        watched = _Watched(sealed, examples.y[part[left]], threat, x)
        x_adv = leg(watched, x, threat, rng, x_adv)
        robust[left] = watched.right
        left, x, x_adv = left[watched.right], x[watched.right], x_adv[watched.right]
        if not len(left):
            return robust
    assert x_adv is not None
    robust[left] = agrees(sealed, x_adv, examples.y[part[left]])
    return robust


class _Watched:
    """The cross-entropy, and who was right at every point of the set that it was asked about.

    Whether a point is one is looked at where searches come from outside alone: it takes its time.
    """

    def __init__(self, model: nn.Module, y: Labels, threat: Threat, centre: Images) -> None:
        self.model, self.y, self.threat, self.centre = model, y, threat, centre
        self.right = torch.ones_like(y, dtype=torch.bool)

    def __call__(self, x: Images) -> Tensor:
        logits: Tensor = self.model(x)
        right = _right(logits.detach(), self.y)
        if self.threat.widest() > 1:
            right |= ~self.threat.inside(x, self.centre)
        self.right &= right
        return F.cross_entropy(logits, self.y, reduction="none")


def transferred(
    model: nn.Module,
    source: nn.Module,
    examples: Examples,
    threat: Threat,
    *,
    seed: int,
    batch_size: int = 500,
) -> Mask:
    """Which examples the network classifies correctly where PGD-50 on ``source`` led them.

    Args:
        model: to logits (batch, class); asked for no gradient.
        source: the net that is attacked, such as the dense one.
        examples: on the device of both.
        threat: what the adversary may do.
        seed: of the random starts.
        batch_size: examples at a time.
    """
    sealed, sealed_source = seal(model), seal(source)
    survives = torch.ones(len(examples), dtype=torch.bool, device=examples.y.device)
    starts = range(0, len(examples), batch_size)
    for member, start in itertools.product(threat.parts(), starts):
        part = torch.arange(start, min(start + batch_size, len(examples)))
        part = part.to(examples.y.device)
        rng = generator(seed, "transfer", start)
        attack = PGD(50, track=True)
        x_adv = adversarial(sealed_source, examples, part, member, attack, rng)
        survives[part] &= agrees(sealed, x_adv, examples.y[part])
    return survives


def adversarial(
    sealed: Sealed,
    examples: Examples,
    part: Tensor,
    threat: Threat,
    attack: Attack,
    rng: torch.Generator,
) -> Images:
    """The attacked inputs for the examples ``part``."""
    return attack(cross_entropy(sealed, examples.y[part]), examples.images(part), threat, rng)


def agrees(model: nn.Module, x: Images, y: Labels) -> Mask:
    """Whether the network gives ``y`` for each of ``x``; NaN logits count as wrong."""
    with torch.no_grad():
        return _right(model(x), y)


def _right(logits: Tensor, y: Labels) -> Mask:
    return (logits.argmax(1) == y) & ~logits.isnan().any(1)


def cross_entropy(model: nn.Module, y: Labels) -> SampleLoss:
    """``x ↦ −log softmax(f(x))_y``, per example."""
    return lambda x: losses.cross_entropy(model(x), y)


def margin(model: nn.Module, y: Labels) -> SampleLoss:
    """``x ↦ max_{k ≠ y} f_k(x) − f_y(x)``, per example: positive where the network is wrong."""
    return lambda x: losses.margin(model(x), y)
