"""The stage that removes whole filters until a network needs no more than its limits.

    min_w E max_{x' ∈ Δ(x)} loss(f_w, x', y)   s.t.  peak activation bytes ≤ R,  MACs ≤ M

Each layer keeps the same fraction of its filters, the largest one that meets the limits; it is
found by bisection on copies. The number of filters falls during the stage; then dead ones leave.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from hauberk.constraints import Annealed, Filter, PerTensor, Sparsity, Tied
from hauberk.dataset import Examples
from hauberk.evaluation.activation_memory import peak_bytes
from hauberk.evaluation.cost import macs
from hauberk.method import Method
from hauberk.methods._structured import Pruning, remaining
from hauberk.ops.sizes import count, size_bytes
from hauberk.ops.ties import Families
from hauberk.parametrize import Selection
from hauberk.problem import Objective, Problem
from hauberk.recipe import Limits
from hauberk.runtime.progress import tell
from hauberk.slimming.slim import shrink
from hauberk.solvers import ProjectedGradient
from hauberk.solvers.descent import put
from hauberk.training.stage import Stage

_STEPS = 7
"""Halvings of the interval of fractions: its end is within 1% of the best."""


@dataclass(frozen=True)
class Needs:
    """What a network needs for one image.

    Attributes:
        ram: peak of the activations in bytes.
        macs: multiplications.
    """

    ram: int
    macs: int

    @staticmethod
    def of(model: nn.Module, shape: tuple[int, ...]) -> Needs:
        """Those of a network for an image of a shape."""
        return Needs(peak_bytes(model, shape), macs(model, shape).dense)

    def within(self, most: Needs) -> bool:
        """Whether neither is above its limit."""
        return self.ram <= most.ram and self.macs <= most.macs


@dataclass(frozen=True)
class Narrowing:
    """The way of a network to its limits.

    Attributes:
        limits: what it may need.
        select: which parameters may lose filters.
        method: gives epochs and learning rate.
        objective: what is minimised.
        model: the network, not a copy.
        sample: a few training examples.
    """

    limits: Limits
    select: Selection
    method: Method
    objective: Objective
    model: nn.Module
    sample: Examples

    def stages(self) -> Iterator[Stage]:
        """One stage, if the network needs more than its limits.

        Raises:
            ValueError: it needs more with one filter in each layer, or its graph cannot be traced.
        """
        if not self.limits.given:
            return
        whole = Needs.of(self.model, self.sample.shape)
        most = Needs(
            size_bytes(self.limits.max_ram or "100%", whole.ram),
            count(self.limits.max_macs or "100%", whole.macs),
        )
        if whole.within(most):
            return
        example = self.sample.images(slice(1))
        ties = Pruning("filter", select=self.select).tied(self.model, example)
        keep = self._largest(ties, whole, most)
        names = [name for tie in ties for name in tie]
        falling = Tied(PerTensor(Annealed(Sparsity(keep, Filter()))), ties)
        problem = Problem(self.objective, {"filters": falling}, select=lambda _: names)
        solver = ProjectedGradient(self.method.optimisation.descent(0.5), lazy=True)
        yield self.method.stage("narrow", problem, solver, self.method.optimisation.epochs)
        remaining(self.model, names, example)

    def _largest(self, ties: Families, whole: Needs, most: Needs) -> float:
        """The largest fraction of the filters that meets the limits."""
        fewest = 1 / max(len(p) for p in self.model.parameters() if p.ndim)
        least = self._needs(ties, fewest)
        if not least.within(most):
            raise ValueError(
                f"max_ram and max_macs were given as {most.ram:,} bytes and {most.macs:,}, and the "
                f"network needs {whole.ram:,} bytes and {whole.macs:,} multiplications for an "
                f"image, and with one filter in each layer {least.ram:,} and {least.macs:,}; give "
                "larger limits, or a network of fewer layers or smaller images."
            )
        low, high = fewest, 1.0
        for step in range(_STEPS):
            tell("counting filters", step, _STEPS)
            middle = (low + high) / 2
            fits = self._needs(ties, middle).within(most)
            low, high = (middle, high) if fits else (low, middle)
        return low

    @torch.no_grad()
    def _needs(self, ties: Families, keep: float) -> Needs:
        """What the network would need with so many filters."""
        net = copy.deepcopy(self.model)
        every = dict(net.named_parameters())
        live = {name: every[name] for tie in ties for name in tie}
        few = Tied(PerTensor(Sparsity(keep, Filter())), ties)
        put(live, few.project({name: p.detach() for name, p in live.items()}))
        shrink(net, self.sample.images(slice(1)))
        return Needs.of(net, self.sample.shape)
