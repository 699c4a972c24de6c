"""Attack, the role: an approximate maximiser of a per-example loss over a threat."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import torch
from torch import nn
from torch.nn.utils import parametrize

from hauberk.threat import Threat
from hauberk.types import Images, SampleLoss


@dataclass(frozen=True, eq=False)
class Maximisation:
    """``max loss(x')  s.t.  x' ∈ Δ(x) ∩ [0, 1]``, for each example: the problem of one search.

    Attributes:
        loss: images to one loss per example; it is differentiated with respect to its input.
        x: clean images in [0, 1], detached.
        threat: the set to search; not a union.
        rng: source of the random start.
        start: start of the search, inside the threat; by default the attack's own.
    """

    loss: SampleLoss
    x: Images
    threat: Threat
    rng: torch.Generator
    start: Images | None = None


class Attack(ABC):
    """``x_adv ≈ argmax loss(x')  s.t.  x' ∈ Δ(x) ∩ [0, 1]``, for each example of a batch."""

    @final
    def __call__(
        self,
        loss: SampleLoss,
        x: Images,
        threat: Threat,
        rng: torch.Generator,
        start: Images | None = None,
    ) -> Images:
        """Search, then project the result once more.

        In a union each threat is searched, and the worst result of each example is kept.

        Args:
            loss: images to one loss per example; it is differentiated with respect to its input.
            x: clean images in [0, 1].
            threat: the set to stay inside.
            rng: source of the random start.
            start: start of the search, after projection, in place of the attack's own.
        """
        with torch.no_grad():
            x = x.detach()
            ends = []
            for part in threat.parts():
                own = None if start is None else part.project(start.detach(), x)
                end = self.search(Maximisation(loss, x, part, rng, own))
                ends.append(part.project(end.detach(), x))
            return ends[0] if len(ends) == 1 else _worst(loss, ends)

    @abstractmethod
    def search(self, task: Maximisation) -> Images:
        """The search itself; runs without a graph: `input_gradient` gives the gradients.

        It evaluates the loss only at points of the threat. If `Threat.approach` has larger sets, it
        may start outside the threat; points there do not count.
        """

    def pieces(self, threat: Threat) -> Sequence[Attack]:
        """The same search in pieces, each started where the last one ended; by default none.

        If an attack has pieces, an evaluation counts every point of the threat that it evaluates,
        and drops fooled examples between two pieces. Otherwise only the result counts. Each part of
        a union has pieces of its own.
        """
        return ()


def _worst(loss: SampleLoss, ends: Sequence[Images]) -> Images:
    """For each example the result of largest loss."""
    number = torch.stack([loss(end) for end in ends]).argmax(0)
    return torch.stack(list(ends))[number, torch.arange(len(number), device=number.device)]


def input_gradient(loss: SampleLoss, x: Images) -> tuple[torch.Tensor, Images]:
    """The per-example losses at ``x`` and ``∇ₓ Σ loss``, differentiated at the projected image.

    No gradient reaches a parameter's ``.grad``. Differentiating through the clamp instead would
    be zero on saturated pixels and mask gradients. Components that are NaN or infinite are zero.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        values = loss(x)
        (grad,) = torch.autograd.grad(values.sum(), x)
    return values.detach(), finite(grad)


def finite(grad: Images) -> Images:
    """A gradient with zero for NaN and infinity, which would stop an attack or make images NaN."""
    return grad.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Freeze the network as it would ship: eval mode, fixed weights, no weight gradients.

    Parametrised weights are computed once and kept for all attack steps. On leaving, every
    module's mode and every parameter's ``requires_grad`` are as they were.
    """
    modes = [(m, m.training) for m in model.modules()]
    trainable = [p for p in model.parameters() if p.requires_grad]
    try:
        for p in trainable:
            p.requires_grad_(False)
        model.eval()
        with parametrize.cached():
            yield
    finally:
        for m, training in modes:
            m.training = training
        for p in trainable:
            p.requires_grad_(True)
