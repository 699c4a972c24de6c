"""Coded tensors: a network's compressed tensors, and their forms in a given number of bits."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from hauberk.allocation.byte_budget import ByteBudget, Choice, cut
from hauberk.allocation.costs import tensor_rate
from hauberk.allocation.distortion import Distortion
from hauberk.allocation.forms import FileForm
from hauberk.constraints import Annealed, Codebook, PerTensor, Sparsity, Support
from hauberk.objectives import TensorRate
from hauberk.ops.kmeans import kmeans
from hauberk.problem import Constraint, Structure
from hauberk.solvers.descent import put
from hauberk.types import Weights

CODES = 16
"""Codebook values of a tensor before its bits are chosen."""


@dataclass(frozen=True)
class HardThreshold(Structure):
    """``argmin_v Σ_i ½ t² [v_i ≠ 0] + ½ (v_i − w_i)²``: weights below their threshold t become 0.

    Attributes:
        rates: the thresholds are theirs, by tensor name.
    """

    rates: Mapping[str, TensorRate]

    @torch.no_grad()
    def prox(self, w: Weights, step: float) -> dict[str, Tensor]:
        """The same for every step, since t is measured on the weights themselves."""
        return {n: torch.where(t.abs() >= self.rates[n].threshold, t, 0) for n, t in w.items()}


@dataclass(frozen=True)
class CodedTensors:
    """The tensors of a network that are compressed.

    Attributes:
        model: the network itself, not a copy.
        names: of the tensors.
        most_bits: largest number of bits of a codebook index.
        form: of the file that holds them.
        distortions: measured losses by tensor name; empty if none were measured.
    """

    model: nn.Module
    names: Sequence[str]
    most_bits: int
    form: FileForm
    distortions: Mapping[str, Distortion] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        """The tensors themselves."""
        every = dict(self.model.named_parameters())
        return {name: every[name] for name in self.names}

    @property
    def detached(self) -> dict[str, Tensor]:
        """The tensors, without a graph."""
        return {name: p.detach() for name, p in self.weights.items()}

    @property
    def length_bits(self) -> float:
        """Their length in the file."""
        return self.length(self.detached)

    def length(self, tree: Weights) -> float:
        """The length of other tensors in their place, in bits."""
        return self.budget(1).size_bits(tree)

    @property
    def least_bits(self) -> float:
        """Their length with one weight each."""
        return self.length(self.cut(dict.fromkeys(self.names, Choice(1, 1))))

    def budget(self, bits: float) -> ByteBudget:
        """The set of trees whose length is at most ``bits``."""
        return ByteBudget(max(1, int(bits)), self.form.codec, self.most_bits, self.distortions)

    def cut(self, plan: Mapping[str, Choice]) -> dict[str, Tensor]:
        """The tensors compressed by a plan."""
        return cut(self.detached, plan, self.form.codec.books)

    def pruned(self, keep: float) -> dict[str, Tensor]:
        """The tensors with a fraction of their weights, by LAMP, in `CODES` values each."""
        w = self.detached
        kept = Sparsity(keep).balanced(w).project(w)
        return {name: kmeans(t, CODES) for name, t in kept.items()}

    def rates(self, tree: Weights) -> dict[str, TensorRate]:
        """Rates at which ``tree`` is kept; its smallest weight is kept with probability ½."""
        w = self.detached
        return {
            name: tensor_rate(t, float(w[name][t != 0].abs().min()), self.form.half)
            for name, t in tree.items()
        }

    def kept(self, rates: Mapping[str, TensorRate]) -> dict[str, Tensor]:
        """The tensors without weights below their threshold, in `CODES` values each."""
        alive = HardThreshold(rates).prox(self.detached, 1.0)
        return {name: kmeans(t, CODES) for name, t in alive.items()}

    @torch.no_grad()
    def copy(self, tree: Weights) -> nn.Module:
        """A copy of the network with other tensors."""
        net = copy.deepcopy(self.model)
        put(replace(self, model=net).weights, tree)
        return net

    def sparser(self, plan: Mapping[str, Choice]) -> Constraint:
        """The plan's counts, as budgets that fall from the current counts during a stage."""

        def falling(name: str, t: Tensor) -> Constraint:
            alive = max(1, int(t.count_nonzero()))
            return Annealed(Sparsity(min(plan[name].kept, alive)), alive / t.numel())

        own = {name: falling(name, t) for name, t in self.detached.items()}
        return PerTensor(Sparsity(1.0), own)

    def take(self, plan: Mapping[str, Choice]) -> None:
        """Compress the network itself by the plan."""
        put(self.weights, self.cut(plan))

    def trims(self, limit_bits: float) -> Iterator[dict[str, Choice]]:
        """Plans of at most ``limit_bits``, each of which prunes one tensor only."""
        w, length = self.detached, self.form.codec.length
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
        """The plan's support and codebooks, as constraints."""
        values = {name: choice.values for name, choice in plan.items()}
        support = Support.of(self.cut(plan))
        return {"support": support, "codebook": Codebook(self.most_bits, values)}
