"""Checks of the answers: margins that stand still or jump, constant answers, logits of odd size.

A network that answers by steps gives no search by scores a slope to follow, and one whose logits
are enormous or tiny leaves none in single precision.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hauberk.attack import input_gradient
from hauberk.evaluation.accuracy import margin
from hauberk.evaluation.checks.check import Check
from hauberk.evaluation.subject import Subject
from hauberk.ops.random import generator

_FLAT, _WRONG = 0.05, 0.25
_SMALLEST, _LARGEST = 1e-3, 1e4
"""Between these lies the margin of a trained network, in its median."""
_JUMPS, _SEGMENTS, _FEW = 0.2, 8, 64
"""Part of the movement that may be jumps, parts of a path, and examples that are followed."""
_STEPS = (0.1, 0.25, 0.5, 1.0)
"""Distances at which margins are looked at, in radii."""


def plateau(subject: Subject) -> Check:
    """The margin of a correct example must move along a random and along the gradient's way."""
    still = torch.stack([_still(subject, ascent) for ascent in (False, True)]).all(0)
    flat = float(still.double().mean()) if len(still) else 0.0
    return Check.of(
        "plateau",
        flat <= _FLAT,
        f"The margin does not move within the radius, neither at random nor along the gradient, on "
        f"{flat:.1%} of the correct examples; at most {_FLAT:.0%} may stand still.",
        {"flat": flat},
        "The answers come in steps, so attacks by gradients or scores have nothing to follow; "
        "figures rest on the student and on answers alone: take them as an upper bound.",
    )


def slope(subject: Subject) -> Check:
    """A step along the gradient, at the scale of the attack, must raise the margin."""
    wrong = _descends(subject)
    return Check.of(
        "slope",
        wrong <= _WRONG,
        f"A quarter of the radius along the gradient does not raise the margin on {wrong:.1%} of "
        f"the correct examples; at most {_WRONG:.0%} may be so.",
        {"wrong": wrong},
        "The gradient says nothing of what happens at the scale of the attack (reversed, random or "
        "rippled), so PGD and AutoAttack's gradient steps do not count.",
    )


def jumps(subject: Subject) -> Check:
    """Along the gradient the margin must move as its slope says.

    On each part of the way to the radius the difference of the margin is compared with the mean of
    the slopes at both ends. A continuous network is off where pieces of it meet, and only there.
    """
    parts = [torch.zeros(0, device=subject.clean.device)]
    few = subject.first(_FEW)
    for start, places in few.in_batches(few.clean):
        parts.append(_unexplained(few, places, start))
    found = torch.cat(parts)
    jumping = float(found.median()) if len(found) else 0.0
    return Check.of(
        "jumps",
        jumping <= _JUMPS,
        f"Along the gradient {jumping:.0%} of the margin's movement is not explained by its slope "
        f"(median of the correct examples); at most {_JUMPS:.0%} may be.",
        {"jumping": jumping},
        "The network jumps from piece to piece (k winners, steps, ripples), so a gradient holds "
        "only where it was taken: take figures of PGD and AutoAttack's gradient steps as too high.",
    )


def noise(subject: Subject) -> Check:
    """Noise must not always get the very same logits."""
    shape = (100, *subject.examples.shape)
    x = torch.rand(shape, generator=generator(subject.seed, "noise"))
    with torch.no_grad():
        logits = subject.model(x.to(subject.examples.y.device))
    same = float((logits == logits[:1]).all(1).double().mean())
    return Check.of(
        "noise",
        same < 0.5,
        f"{same:.0%} of 100 images of noise get the same logits, to the last bit; fewer than half "
        "may.",
        {"same": same},
        "Images unlike the data are answered by a constant, which hides the network from checks "
        "with noise and large radii; judge by the headline alone.",
    )


def scale(subject: Subject) -> Check:
    """Logits must be finite, and of a size that single precision can tell apart."""
    with torch.no_grad():
        batches = subject.examples.batches(subject.batch_size)
        logits = torch.cat([subject.model(x) for x, _ in batches])
    top = logits.nan_to_num(0.0, 0.0, 0.0).topk(min(2, logits.shape[1]), dim=1).values
    median = float((top[:, 0] - top[:, -1]).median())
    finite = bool(logits.isfinite().all())
    return Check.of(
        "scale",
        finite and _SMALLEST <= median <= _LARGEST,
        f"The two largest logits are {median:.3g} apart in the median"
        + ("" if finite else ", and some logits are not finite")
        + f"; {_SMALLEST:g} to {_LARGEST:g} is usual.",
        {"margin": median},
        "Losses of such logits are zero or infinite in single precision, so official attacks see "
        "no slope; hauberk's own rescale them. Remove the factor, and evaluate again.",
    )


def _still(subject: Subject, ascent: bool) -> Tensor:
    """For each correct example, whether its margin is the same all the way to the radius."""
    found = [torch.ones(0, dtype=torch.bool, device=subject.clean.device)]
    for start, places in subject.in_batches(subject.clean):
        x, values, step = _step(subject, places, ascent, start)
        still = torch.ones_like(values, dtype=torch.bool)
        for t in _STEPS:
            still &= _margin(subject, places, (x + t * step).clamp(0, 1)) == values
        found.append(still)
    return torch.cat(found)


def _descends(subject: Subject) -> float:
    """The fraction of correct examples whose margin does not rise along the gradient."""
    wrong, total = 0, max(int(subject.clean.sum()), 1)
    for start, places in subject.in_batches(subject.clean):
        x, values, step = _step(subject, places, True, start)
        wrong += int((_margin(subject, places, (x + step / 4).clamp(0, 1)) <= values).sum())
    return wrong / total


def _unexplained(subject: Subject, places: Tensor, start: int) -> Tensor:
    """For each example, the part of the movement along the gradient that no slope explains."""
    x, values, step = _step(subject, places, True, start)
    loss, missed, moved = margin(subject.model, subject.examples.y[places]), 0 * values, 0 * values
    at, before = x, input_gradient(loss, x)[1]
    for number in range(1, _SEGMENTS + 1):
        point = (x + number / _SEGMENTS * step).clamp(0, 1)
        now, grad = input_gradient(loss, point)
        told = (0.5 * (before + grad) * (point - at)).flatten(1).sum(1)
        missed = missed + (now - values - told).abs()
        moved = moved + (now - values).abs() + told.abs()
        at, before, values = point, grad, now
    return torch.where(moved > 0, missed / moved.clamp(min=1e-30), 0)


def _step(
    subject: Subject, places: Tensor, ascent: bool, start: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Images, margins, and a step as long as the radius."""
    threat = subject.threat.parts()[0]
    x, y = subject.examples.images(places), subject.examples.y[places]
    values, grad = input_gradient(margin(subject.model, y), x)
    if not ascent:
        rng = generator(subject.seed, "plateau", start)
        grad = torch.randn(x.shape, generator=rng).to(x)
    return x, values, threat.radius() * threat.step(grad, x)


def _margin(subject: Subject, places: Tensor, x: Tensor) -> Tensor:
    with torch.no_grad():
        return margin(subject.model, subject.examples.y[places])(x)
