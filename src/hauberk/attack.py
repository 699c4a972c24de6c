"""How the adversary searches: approximate maximisers of a per-example loss over a threat."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import final

import torch
from torch import nn
from torch.nn.utils import parametrize

from hauberk.threat import Threat
from hauberk.types import Images, SampleLoss


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
        """Search, then project once more, whatever the search returns.

        In a union of threats each is searched, and each example's worst end is kept.

        Args:
            loss: images to one loss per example; it is differentiated with respect to its input.
            x: clean images in [0, 1].
            threat: the set to stay inside.
            rng: source of the random start.
            start: begin here, once it is projected, instead of where the attack would by itself.
        """
        with torch.no_grad():
            x = x.detach()
            ends = [self._within(part, loss, x, rng, start) for part in threat.parts()]
            return ends[0] if len(ends) == 1 else _worst(loss, ends)

    @final
    def _within(
        self,
        threat: Threat,
        loss: SampleLoss,
        x: Images,
        rng: torch.Generator,
        start: Images | None,
    ) -> Images:
        start = None if start is None else threat.project(start.detach(), x)
        return threat.project(self.search(loss, x, threat, rng, start).detach(), x)

    @abstractmethod
    def search(
        self,
        loss: SampleLoss,
        x: Images,
        threat: Threat,
        rng: torch.Generator,
        start: Images | None = None,
    ) -> Images:
        """The search itself; runs without a graph: `input_gradient` gives the gradients.

        It asks ``loss`` about points of the threat only; where `Threat.approach` gives larger sets
        it may come from outside, and points there do not count.
        """

    def legs(self, threat: Threat) -> Sequence[Attack]:
        """The same search in pieces, each begun where the last one ended; by default none.

        Of a union each part has its own.

        Of an attack that has pieces, every point of the threat that it asks about counts, and
        between two pieces an evaluation drops the examples that are fooled already. Of another its
        answer alone does.
        """
        return ()


def _worst(loss: SampleLoss, ends: Sequence[Images]) -> Images:
    """For each example the end of largest loss."""
    number = torch.stack([loss(end) for end in ends]).argmax(0)
    return torch.stack(list(ends))[number, torch.arange(len(number), device=number.device)]


def input_gradient(loss: SampleLoss, x: Images) -> tuple[torch.Tensor, Images]:
    """The per-example losses at ``x`` and ``∇ₓ Σ loss``, differentiated at the projected image.

    No gradient reaches a parameter's ``.grad``. Differentiating through the clamp instead would
    be zero on saturated pixels and pass for robustness.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        values = loss(x)
        (grad,) = torch.autograd.grad(values.sum(), x)
    return values.detach(), grad


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Show the attack the network that ships: eval mode, no parameter gradients, fixed weights.

    Parametrised weights are computed once and kept for all attack steps. On leaving, every
    module's mode and every parameter's ``requires_grad`` are as they were.
    """
    modes = [(m, m.training) for m in model.modules()]
    asking = [p for p in model.parameters() if p.requires_grad]
    try:
        for p in asking:
            p.requires_grad_(False)
        model.eval()
        with parametrize.cached():
            yield
    finally:
        for m, training in modes:
            m.training = training
        for p in asking:
            p.requires_grad_(True)
