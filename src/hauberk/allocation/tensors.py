"""A network's compressed tensors, and what becomes of them in so many bits of a file."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from hauberk.allocation.byte_budget import ByteBudget, Choice, cut
from hauberk.allocation.costs import codec, tariff
from hauberk.allocation.distortion import Harm
from hauberk.constraints import Annealed, Codebook, PerTensor, Sparsity, Support
from hauberk.objectives import Tariff
from hauberk.ops.kmeans import kmeans
from hauberk.problem import Constraint, Structure
from hauberk.solvers.descent import put
from hauberk.types import Weights

CODES = 16
"""Values of a tensor while it is not decided yet how many bits it gets."""


@dataclass(frozen=True)
class GivenUp(Structure):
    """``argmin_v Σ_i ½ t² [v_i ≠ 0] + ½ (v_i − w_i)²``: weights below their threshold t are none.

    Attributes:
        tariffs: with the thresholds, by name.
    """

    tariffs: Mapping[str, Tariff]

    @torch.no_grad()
    def prox(self, w: Weights, step: float) -> dict[str, Tensor]:
        """The same for every step: t is where the codec's cost was set against the weights'."""
        return {n: torch.where(t.abs() >= self.tariffs[n].threshold, t, 0) for n, t in w.items()}


@dataclass(frozen=True)
class Packing:
    """Which tensors of a network are compressed, and how far at most.

    Attributes:
        model: the network, live.
        names: of the tensors.
        most_bits: of a codebook, at most.
        half: whether numbers leave as float16.
        harms: what cuts do to the loss, by name, where that was measured.
    """

    model: nn.Module
    names: Sequence[str]
    most_bits: int
    half: bool
    harms: Mapping[str, Harm] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        """The tensors, live."""
        every = dict(self.model.named_parameters())
        return {name: every[name] for name in self.names}

    @property
    def detached(self) -> dict[str, Tensor]:
        """The tensors, without a graph."""
        return {name: p.detach() for name, p in self.weights.items()}

    @property
    def length_bits(self) -> float:
        """What they take now."""
        return self.length(self.detached)

    def length(self, tree: Weights) -> float:
        """What other tensors would take."""
        return self.budget(1).size_bits(tree)

    @property
    def least_bits(self) -> float:
        """What they take with one weight each."""
        return self.length(cut(self.detached, dict.fromkeys(self.names, Choice(1, 1))))

    def budget(self, bits: float) -> ByteBudget:
        """Trees that take so many bits."""
        return ByteBudget(max(1, int(bits)), codec(self.half), self.most_bits, self.harms)

    def lean(self, keep: float) -> dict[str, Tensor]:
        """The tensors, with a share of all their weights, by LAMP, in `CODES` values each."""
        w = self.detached
        kept = Sparsity(keep).balanced(w).project(w)
        return {name: kmeans(t, CODES) for name, t in kept.items()}

    def tariffs(self, tree: Weights) -> dict[str, Tariff]:
        """What kept weights cost where ``tree`` is what is kept; the least of them is kept by ½."""
        w = self.detached
        return {
            name: tariff(t, float(w[name][t != 0].abs().min()), self.half)
            for name, t in tree.items()
        }

    def kept(self, tariffs: Mapping[str, Tariff]) -> dict[str, Tensor]:
        """The tensors, without what is below its threshold, in `CODES` values each."""
        alive = GivenUp(tariffs).prox(self.detached, 1.0)
        return {name: kmeans(t, CODES) for name, t in alive.items()}

    @torch.no_grad()
    def copy(self, tree: Weights) -> nn.Module:
        """The network with other tensors."""
        net = copy.deepcopy(self.model)
        put(replace(self, model=net).weights, tree)
        return net

    def sparser(self, plan: Mapping[str, Choice]) -> Constraint:
        """The plan's counts, each as a budget that falls while a stage goes, from what is there."""

        def falling(name: str, t: Tensor) -> Constraint:
            alive = max(1, int(t.count_nonzero()))
            return Annealed(Sparsity(min(plan[name].kept, alive)), alive / t.numel())

        own = {name: falling(name, t) for name, t in self.detached.items()}
        return PerTensor(Sparsity(1.0), own)

    def take(self, plan: Mapping[str, Choice]) -> None:
        """Cut the network itself."""
        put(self.weights, cut(self.detached, plan))

    def trims(self, limit_bits: float) -> Iterator[dict[str, Choice]]:
        """Plans for so many bits at most, each with fewer weights of one tensor alone."""
        w, length = self.detached, codec(self.half).length
        lengths = {name: length(t) for name, t in w.items()}
        most = 1 << self.most_bits
        values = {name: min(len(torch.unique(t[t != 0])), most) for name, t in w.items()}
        now = {name: Choice(int(t.count_nonzero()), values[name]) for name, t in w.items()}
        for name, (alive, longest) in now.items():
            room = limit_bits - (sum(lengths.values()) - lengths[name])
            low, high = 0, alive - 1
            while low < high:
                middle = (low + high + 1) // 2
                few = cut({name: w[name]}, {name: Choice(middle, longest)})[name]
                low, high = (middle, high) if length(few) <= room else (low, middle - 1)
            if low > 0:
                yield {**now, name: Choice(low, longest)}

    def codebooks(self, plan: Mapping[str, Choice]) -> dict[str, Constraint]:
        """The plan's support and codebooks."""
        values = {name: choice.values for name, choice in plan.items()}
        support = Support.of(cut(self.detached, plan))
        return {"support": support, "codebook": Codebook(self.most_bits, values)}
