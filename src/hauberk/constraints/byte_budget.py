"""A budget in bytes of the written file, over pruning and codebooks of all layers at once.

    Π(w) ≈ argmin Σ_l s_l² ‖w'_l − w_l‖²   s.t.   Σ_l length(w'_l) ≤ B

Layer l has the candidates (K, b): its K largest weights, in a codebook of 2ᵇ values. One from each
layer is a multiple-choice knapsack, solved on the lower convex hull: for a price λ of a bit each
layer takes its own ``argmin s² D(K, b) + λ R(K, b)``, and λ is bisected (Shoham and Gersho, 1988).
The plan's prices are estimates; the answer is cut by the codec's own length, one factor on all K.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hauberk.constraints.checks import refuse_nonfinite
from hauberk.ops.kmeans import kmeans, sketch
from hauberk.ops.topk import keep_largest
from hauberk.problem import Constraint
from hauberk.types import Weights

_Table: TypeAlias = NDArray[np.float64]
_COUNTS = 40
"""Kept counts that are tried for a layer, evenly spread on a logarithmic scale."""
_SAMPLE = 1 << 12
"""Kept weights that stand for all of them where a codebook's error is measured."""


class Choice(NamedTuple):
    """How one layer is kept: its ``kept`` largest weights, in a codebook of 2^``bits`` values."""

    kept: int
    bits: int


@dataclass(frozen=True)
class Codec:
    """What things cost in a file.

    Attributes:
        length: of a tensor, in bits, exactly.
        price: estimates for one tensor with its K largest weights in 2ᵇ values: a table over all K
            and all b, in bits.
    """

    length: Callable[[Tensor], float]
    price: Callable[[Tensor, Sequence[int], Sequence[int]], _Table]


@dataclass(frozen=True)
class ByteBudget(Constraint):
    """``{w : Σ_l length(w_l) ≤ B}`` for a codec's own length.

    Attributes:
        limit_bits: B, without what the file holds beside these tensors.
        codec: what things cost.
        worth: ``s_l²`` by name, what a unit of squared error costs in a layer; 1 where it is left
            out.
        most_bits: of a codebook, at most.

    Raises:
        ValueError: for a budget below one bit, or bits outside 1…8.
    """

    limit_bits: int
    codec: Codec = field(repr=False)
    worth: Mapping[str, float] = field(default_factory=dict, repr=False)
    most_bits: int = 8

    def __post_init__(self) -> None:
        if self.limit_bits < 1:
            raise ValueError(f"limit_bits was given as {self.limit_bits}; give 1 or more.")
        if not 1 <= self.most_bits <= 8:
            raise ValueError(f"most_bits was given as {self.most_bits}; give a number in 1…8.")

    @torch.no_grad()
    def project(self, w: Weights) -> dict[str, Tensor]:
        """A feasible point near to the nearest one; one that is feasible stays.

        Not exact: among the hull's points the plan is the best one, and what lies off the hull is
        at most one candidate of one layer away.

        Raises:
            ValueError: not even one weight of each layer fits.
        """
        refuse_nonfinite(w)
        if self.size_bits(w) <= self.limit_bits:
            return {name: t.detach().clone() for name, t in w.items()}
        plan = self.plan(w)
        low, high, best = 0.0, 2.0, self._cut(w, plan, 0.0)
        if self.size_bits(best) > self.limit_bits:
            least = ceil(self.size_bits(best) / 8)
            raise ValueError(
                f"The budget is {self.limit_bits // 8:,} bytes for the weights alone, and one "
                f"weight in each layer takes {least:,}; give a larger size."
            )
        for _ in range(9):
            middle = (low + high) / 2
            tried = self._cut(w, plan, middle)
            if self.size_bits(tried) <= self.limit_bits:
                low, best = middle, tried
            else:
                high = middle
        return best

    def plan(self, w: Weights) -> dict[str, Choice]:
        """The knapsack's answer, by estimated prices."""
        menus = {name: self._menu(name, t) for name, t in w.items()}
        cheap, dear = 0.0, 1.0
        while self._spent(menus, dear) > self.limit_bits and dear < 1e30:
            cheap, dear = dear, dear * 8
        for _ in range(50):
            middle = (cheap + dear) / 2
            if self._spent(menus, middle) > self.limit_bits:
                cheap = middle
            else:
                dear = middle
        return {name: menu.choice(dear) for name, menu in menus.items()}

    def size_bits(self, w: Weights) -> int:
        """The codec's own length."""
        return ceil(sum(self.codec.length(t) for t in w.values()))

    def budget_bits(self, w: Weights) -> int:
        """B, or what ``w`` takes by itself where that is less."""
        return self.limit_bits

    def _menu(self, name: str, t: Tensor) -> _Menu:
        alive = max(1, int(torch.count_nonzero(t)))
        counts = np.unique(np.geomspace(1, alive, _COUNTS).round().astype(np.int64))
        bits = list(range(1, self.most_bits + 1))
        return _Menu(
            counts,
            np.array(bits),
            self.worth.get(name, 1.0) * _errors(t, counts, bits),
            self.codec.price(t, counts.tolist(), bits),
        )

    def _spent(self, menus: Mapping[str, _Menu], price: float) -> float:
        return sum(menu.cost(price) for menu in menus.values())

    def _cut(self, w: Weights, plan: Mapping[str, Choice], factor: float) -> dict[str, Tensor]:
        """The plan's codebooks, with so many times its kept weights (one at least)."""
        return {
            name: kmeans(_largest(t, max(1, int(factor * plan[name].kept))), 1 << plan[name].bits)
            for name, t in w.items()
        }


@dataclass(frozen=True)
class _Menu:
    """One layer's candidates: error and cost of each count (rows) in each number of bits."""

    counts: NDArray[np.int64]
    bits: NDArray[np.int64]
    errors: _Table
    costs: _Table

    def choice(self, price: float) -> Choice:
        """``argmin error + price · cost``."""
        row, column = self._best(price)
        return Choice(int(self.counts[row]), int(self.bits[column]))

    def cost(self, price: float) -> float:
        """What that choice costs."""
        return float(self.costs[self._best(price)])

    def _best(self, price: float) -> tuple[int, int]:
        row, column = divmod(int((self.errors + price * self.costs).argmin()), len(self.bits))
        return row, column


def _largest(t: Tensor, count: int) -> Tensor:
    alive = keep_largest({"": t.detach().abs()}, min(count, t.numel()))[""]
    return torch.where(alive, t.detach(), 0)


def _errors(t: Tensor, counts: NDArray[np.int64], bits: Sequence[int]) -> _Table:
    """``‖t − its K largest in 2ᵇ values‖²`` for each K and b, the codebooks' part on a sample."""
    ordered = t.detach().flatten().double().cpu()
    ordered = ordered[ordered.abs().argsort(descending=True)]
    energy = torch.cat([ordered.new_zeros(1), ordered.square().cumsum(0)])
    rows = []
    for count in counts.tolist():
        some = ordered[:count][:: -(-count // _SAMPLE)]
        each = [(sketch(some, 1 << b) - some).square().sum() * (count / len(some)) for b in bits]
        rows.append([float(energy[-1] - energy[count] + e) for e in each])
    return np.array(rows)
