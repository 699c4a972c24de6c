"""White-box attacks on a network whose own gradient leads nowhere.

x ← Π_Δ(x)( x + α · steepest( Σ_j ∇ margin_t(h(x + σ u_j)) ) ),   u_j random,  j ≤ J

The gradient is that of `BackwardPass`, in double precision, where rounding cannot end it. h is the
output, or the first value inside the network that ranks the classes as the output does: the logits
before a softmax, a step or a plateau that hides them. t is no class or one of the likeliest wrong
ones. With J > 1 the gradient is a mean over the neighbourhood, for losses that are rugged at the
scale of a step. Every point is judged by the network that ships, without a gradient.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hauberk.attack import finite
from hauberk.attacks.losses import margin
from hauberk.evaluation.backward_pass import BackwardPass
from hauberk.evaluation.proportion import Mask
from hauberk.evaluation.subject import Subject
from hauberk.onnx.attackable import Judged
from hauberk.onnx.foreign import OneByOne
from hauberk.ops.pixel_levels import nearest
from hauberk.ops.random import generator
from hauberk.threat import Threat
from hauberk.types import Images, Labels, PerSample

_ALIKE = 0.9
"""Fraction of answers in which a value inside the network must agree with the output."""


@dataclass(frozen=True)
class Bypass:
    """A white-box attack with an approximated backward pass.

    Attributes:
        steps: gradient steps of each search.
        targets: wrong classes that are aimed at, one after the other, after a search without aim.
        samples: neighbours that a gradient is averaged over; 1 is the point itself.
        comparisons: see `BackwardPass`.
        first: climb the first value that ranks the classes like the output, not the output.
        direct: take all that is done before the first layer with weights for the identity.
        own: take the network's own gradient, in place of the approximated one.
        eight_bits: take the gradient at the nearest image of eight bits.
    """

    steps: int = 20
    targets: int = 3
    samples: int = 1
    comparisons: bool = False
    first: bool = False
    direct: bool = False
    own: bool = False
    eight_bits: bool = False

    def __call__(self, subject: Subject, source: nn.Module | None = None) -> Mask:
        """The examples that withstand, of those that the subject marks.

        Args:
            subject: the classifier, examples and threat.
            source: the net whose gradient is followed; by default that of the subject.

        Raises:
            Exception: the network cannot be run in this way.
        """
        survives = subject.clean.clone()
        twin = Twin(subject.model.inner if source is None else source, self)
        for threat in subject.threat.parts():
            for start, places in subject.in_batches(survives):
                rng = generator(subject.seed, "bypass", start)
                survives[places] = self._withstand(subject, twin, places, threat, rng)
        return survives

    def _withstand(
        self, subject: Subject, twin: Twin, places: Tensor, threat: Threat, rng: torch.Generator
    ) -> Mask:
        robust = torch.ones_like(places, dtype=torch.bool)
        x, y = subject.examples.images(places), subject.examples.y[places]
        twin.aim(x)
        likely = twin.ranked(x, y)
        for aim in [None, *likely.T[: self.targets]]:
            left = robust.nonzero()[:, 0]
            if not len(left):
                break
            centre = x[left]
            x_adv = threat.sample(centre, rng)
            for i in range(self.steps):
                target = None if aim is None else aim[left]
                grad = twin.gradient(x_adv, y[left], target, threat, rng)
                scale = 5.0 * (self.steps - i) / self.steps / (self.steps + 1)
                step = threat.step(grad, x_adv)
                x_adv = threat.project(x_adv.add(step, alpha=scale * threat.radius()), centre)
                stays = subject.withstands(x_adv, places[left], threat)
                robust[left[~stays]] = False
                left, x_adv, centre = left[stays], x_adv[stays], centre[stays]
                if not len(left):
                    break
        return robust


class Twin:
    """A copy of a network in double precision, with the gradient of `BackwardPass`."""

    def __init__(self, net: nn.Module, settings: Bypass) -> None:
        """Copy the network; in single precision if it does not run in double.

        Args:
            net: to logits.
            settings: of the attack.
        """
        net = net.twin if isinstance(net, Judged) else net
        self.single = isinstance(net, OneByOne)  # a graph of one image
        net = net.net if isinstance(net, OneByOne) else net
        self.settings, self.head, self.sign = settings, -1, 1.0
        self.net, self.type = copy.deepcopy(net).double(), torch.float64
        self.plain = net

    def aim(self, x: Images) -> None:
        """Choose the value that is climbed.

        Args:
            x: clean images.
        """
        try:
            heads = self._heads(x.double())
        except Exception:  # a user's code may insist on single precision
            self.net, self.type = self.plain, torch.float32
            heads = self._heads(x)
        answers = heads[-1].argmax(1)
        self.head, self.sign = len(heads) - 1, 1.0
        if self.settings.first:
            self.head, self.sign = next(_alike(heads, answers), (self.head, 1.0))

    def ranked(self, x: Images, y: Labels) -> Tensor:
        """The wrong classes, likeliest first, (batch, class − 1)."""
        values = self.sign * self._heads(x.to(self.type))[self.head].detach()
        return values.scatter(1, y[:, None], -torch.inf).argsort(1, descending=True)[:, :-1]

    def gradient(
        self, x: Images, y: Labels, target: Labels | None, threat: Threat, rng: torch.Generator
    ) -> Images:
        """The ascent direction of the margin.

        Args:
            x: the points.
            y: true classes.
            target: the classes to aim at; any for ``None``.
            threat: sets the size of the neighbourhood.
            rng: chooses the neighbours.
        """
        total = torch.zeros_like(x)
        for _ in range(self.settings.samples):
            near = x
            if self.settings.samples > 1:
                near = threat.scaled(0.5).project(threat.scaled(0.5).sample(x, rng), x)
            total += self._gradient(near, y, target)
        return total

    def _gradient(self, x: Images, y: Labels, target: Labels | None) -> Images:
        x = nearest(x) if self.settings.eight_bits else x
        with torch.enable_grad():
            wide = x.detach().to(self.type).requires_grad_()
            heads = self._run(wide)
            values = _aimed(self.sign * heads[min(self.head, len(heads) - 1)], y, target)
            if not values.requires_grad:
                return torch.zeros_like(x)
            # a network without a gradient gets one of zero
            (grad,) = torch.autograd.grad(values.sum() + 0 * wide.sum(), wide)
        return _unit(finite(grad)).to(x.dtype).contiguous()

    def _heads(self, x: Images) -> list[Tensor]:
        with torch.enable_grad():
            return [head.detach() for head in self._run(x.detach().requires_grad_())]

    def _run(self, x: Images) -> list[Tensor]:
        """The values that rank the classes, the output last."""
        if not self.single:
            return self._values(x)
        each = [self._values(image) for image in torch.split(x, 1)]
        return [torch.cat(same) for same in zip(*each, strict=True)]

    def _values(self, x: Images) -> list[Tensor]:
        if self.settings.own:
            return [self.net(x * 1)]
        x = x * 1
        mode = BackwardPass(self.settings.comparisons, x if self.settings.direct else None)
        with mode:
            logits = self.net(x * 1)
        return mode.finish(logits)


def _alike(heads: list[Tensor], answers: Labels) -> Iterator[tuple[int, float]]:
    """The values that rank the classes as the output does, or in reverse."""
    for place, head in enumerate(heads):
        if not bool((head.amax(1) > head.amin(1)).all()):
            continue
        if float((head.argmax(1) == answers).double().mean()) >= _ALIKE:
            yield place, 1.0
        elif float((head.argmin(1) == answers).double().mean()) >= _ALIKE:
            yield place, -1.0


def _aimed(values: Tensor, y: Labels, target: Labels | None) -> PerSample:
    """``f_t − f_y``, of the likeliest wrong class if no target is given."""
    if target is None:
        return margin(values, y)
    return (values.gather(1, target[:, None]) - values.gather(1, y[:, None]))[:, 0]


def _unit(grad: Tensor) -> Tensor:
    """Each gradient over its largest component, so that a tiny one survives single precision."""
    largest = grad.flatten(1).abs().amax(1)
    return grad / torch.where(largest > 0, largest, 1).view(-1, *[1] * (grad.ndim - 1))
