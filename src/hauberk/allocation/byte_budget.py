"""A budget in bytes of the written file, over pruning and codebooks of all layers at once.

    Π(w) ≈ argmin Σ_l H_l(w'_l)   s.t.   Σ_l length(w'_l) ≤ B,     H_l = −log cos² ∠(w'_l, w_l)

Layer l has the candidates (K, b): its K largest weights, in a codebook of 2ᵇ values, for which
cos² = 1 − D / ‖w_l‖², D the squared error. To choose one for each layer is a multiple-choice
knapsack, solved on the lower convex hull: at a price λ of a bit each layer takes its own
``argmin H(K, b) + λ R(K, b)``, and λ is bisected (Shoham and Gersho, 1988).

This is no Euclidean projection: the nearest point in angle is sought, not in distance, and only
approximately. Angles are scale-invariant, and emptying a layer costs infinity (cosine 0); LAMP (Lee
et al., 2021, arXiv 2010.07611) is the same measure if every weight costs the same. Layers tolerate
the same angle very differently, though: where the loss was measured, H is a `Distortion`, that loss
as a function of the angles. A squared error weighted by the Fisher information predicts small
errors only; on digits it emptied the widest layer. The knapsack uses estimated costs R; the answer
is reached on a geometric path from one plan to the next, by the codec's exact length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, pow
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hauberk.allocation.distortion import Distortion
from hauberk.constraints.checks import refuse_nonfinite
from hauberk.ops.kmeans import kmeans, sketches
from hauberk.ops.topk import keep_largest
from hauberk.problem import Constraint
from hauberk.types import Weights

_Table: TypeAlias = NDArray[np.float64]
_COUNTS = 40
"""Kept counts that are tried for a layer, evenly spaced on a logarithmic scale."""
_ANCHORS = 12
"""Kept counts whose codebook errors are computed; those between are interpolated."""
_SAMPLE = 1 << 12
"""Kept weights that are sampled to measure the error of a codebook."""
_TINY = 1e-15
"""Least fraction of a layer's energy that counts as left, so that no angle is infinite."""


class Choice(NamedTuple):
    """A choice for one layer: its ``kept`` largest weights, in a codebook of ``values`` entries."""

    kept: int
    values: int


@dataclass(frozen=True)
class Codec:
    """The bytes of tensors in a file.

    Attributes:
        length: exact, of one tensor, in bits.
        estimate: of one tensor with its K largest weights in 2ᵇ values, a table over all K and b,
            in bits.
        books: whether a codebook shortens tensors; without it a plan only prunes.
    """

    length: Callable[[Tensor], float]
    estimate: Callable[[Tensor, Sequence[int], Sequence[int]], _Table]
    books: bool = True


@dataclass(frozen=True)
class ByteBudget(Constraint):
    """``{w : Σ_l length(w_l) ≤ B}`` for a codec's own length.

    Attributes:
        limit_bits: B, for these tensors alone, without the rest of the file.
        codec: lengths and their estimates.
        most_bits: largest number of bits of a codebook index.
        distortions: measured losses by layer name: of every layer, or of none (angles alone).

    Raises:
        ValueError: for a budget below one bit, or bits outside 1…8.
    """

    limit_bits: int
    codec: Codec = field(repr=False)
    most_bits: int = 8
    distortions: Mapping[str, Distortion] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.limit_bits < 1:
            raise ValueError(f"limit_bits was given as {self.limit_bits}; give 1 or more.")
        if not 1 <= self.most_bits <= 8:
            raise ValueError(f"most_bits was given as {self.most_bits}; give a number in 1…8.")

    @torch.no_grad()
    def project(self, w: Weights) -> dict[str, Tensor]:
        """A feasible point close by; one that is feasible stays.

        Not the nearest of all: it follows a `fitted_plan`, which lies between two points on the
        hull of estimated costs, as far towards the larger one as the true length allows.

        Raises:
            ValueError: not even one weight of each layer fits.
        """
        refuse_nonfinite(w)
        if self.size_bits(w) <= self.limit_bits:
            return {name: t.detach().clone() for name, t in w.items()}
        return cut(w, self.fitted_plan(w), self.codec.books)

    def fitted_plan(self, w: Weights) -> dict[str, Choice]:
        """The choices that `project` makes where ``w`` is too long, to the codec's own length.

        From one weight a layer to the hull's point within the budget, on to the one above it, and
        beyond: as far on that way as the length allows. What is left buys longer codebooks.

        Raises:
            ValueError: even one weight a layer takes more bytes than the budget.
        """
        above, within = self._around(w)
        way = [
            dict.fromkeys(w, Choice(1, 1)),
            within,
            above,
            {n: Choice(t.numel(), 1 << self.most_bits) for n, t in w.items()},
        ]
        low, high = 0.0, float(len(way) - 1)
        if self._length(w, _on(way, low)) > self.limit_bits:
            least = ceil(self._length(w, _on(way, low)) / 8)
            raise ValueError(
                f"The budget is {self.limit_bits // 8:,} bytes for the weights alone, and one "
                f"weight in each layer takes {least:,}; give a larger size."
            )
        for _ in range(14):
            middle = (low + high) / 2
            fits = self._length(w, _on(way, middle)) <= self.limit_bits
            low, high = (middle, high) if fits else (low, middle)
        plan = _on(way, low)
        return self._filled(w, plan) if self.codec.books else plan

    def _filled(self, w: Weights, plan: dict[str, Choice]) -> dict[str, Choice]:
        """As many values as still fit, the smallest tensor first: there they cost least."""

        def length(name: str, values: int) -> float:
            return self.codec.length(_kept(w[name], Choice(plan[name].kept, values)))

        taken = {name: length(name, choice.values) for name, choice in plan.items()}
        for name in sorted(w, key=lambda n: (w[n].numel(), n)):
            room = self.limit_bits - (sum(taken.values()) - taken[name])
            low, high = plan[name].values, 1 << self.most_bits
            while low < high:
                middle = (low + high + 1) // 2
                low, high = (middle, high) if length(name, middle) <= room else (low, middle - 1)
            plan[name], taken[name] = Choice(plan[name].kept, low), length(name, low)
        return plan

    def _length(self, w: Weights, plan: Mapping[str, Choice]) -> int:
        return self.size_bits(cut(w, plan, self.codec.books))

    def plan(self, w: Weights) -> dict[str, Choice]:
        """The knapsack's answer, by estimated costs: the best point of the hull that fits."""
        return self._around(w)[-1]

    def _around(self, w: Weights) -> tuple[dict[str, Choice], dict[str, Choice]]:
        """The hull's points on both sides of the budget: the one above, and the one within it."""
        menus = {
            n: self._menu(t, self.distortions[n] if self.distortions else Distortion())
            for n, t in w.items()
        }
        cheap, dear = 0.0, 1.0
        while self._spent(menus, dear) > self.limit_bits and dear < 1e30:
            cheap, dear = dear, dear * 8
        for _ in range(50):
            middle = (cheap + dear) / 2
            if self._spent(menus, middle) > self.limit_bits:
                cheap = middle
            else:
                dear = middle
        above, within = (
            {name: menu.choice(price) for name, menu in menus.items()} for price in (cheap, dear)
        )
        return above, within

    def size_bits(self, w: Weights) -> int:
        """The codec's own length."""
        return ceil(sum(self.codec.length(t) for t in w.values()))

    def budget_bits(self, w: Weights) -> int:
        """B."""
        return self.limit_bits

    def _menu(self, t: Tensor, distortion: Distortion) -> _Menu:
        alive = max(1, int(torch.count_nonzero(t)))
        counts = np.unique(np.geomspace(1, alive, _COUNTS).round().astype(np.int64))
        bits = list(range(1, self.most_bits + 1))
        return _Menu(
            counts,
            np.array(bits),
            _distortions(t, counts, bits, distortion, self.codec.books),
            self.codec.estimate(t, counts.tolist(), bits),
        )

    def _spent(self, menus: Mapping[str, _Menu], price: float) -> float:
        return sum(menu.cost(price) for menu in menus.values())


@dataclass(frozen=True)
class _Menu:
    """One layer's candidates: distortion and cost of each count (rows) in each number of bits."""

    counts: NDArray[np.int64]
    bits: NDArray[np.int64]
    distortions: _Table
    costs: _Table

    def choice(self, price: float) -> Choice:
        """``argmin distortion + price · cost``."""
        row, column = self._best(price)
        return Choice(int(self.counts[row]), 1 << int(self.bits[column]))

    def cost(self, price: float) -> float:
        """The bytes of that choice."""
        return float(self.costs[self._best(price)])

    def _best(self, price: float) -> tuple[int, int]:
        row, column = divmod(int((self.distortions + price * self.costs).argmin()), len(self.bits))
        return row, column


def cut(w: Weights, plan: Mapping[str, Choice], books: bool = True) -> dict[str, Tensor]:
    """Each tensor's largest weights as the plan chose.

    Args:
        w: the tensors.
        plan: a choice for each.
        books: whether each has a codebook of its own; else its values stay.
    """
    return {name: _kept(t, plan[name], books) for name, t in w.items()}


def _kept(t: Tensor, choice: Choice, books: bool = True) -> Tensor:
    alive = keep_largest({"": t.detach().abs()}, min(choice.kept, t.numel()))[""]
    kept = torch.where(alive, t.detach(), 0)
    return kmeans(kept, choice.values) if books else kept


def _on(way: Sequence[Mapping[str, Choice]], place: float) -> dict[str, Choice]:
    """A point on the way between plans: numbers between their neighbours', geometrically."""
    number = min(int(place), len(way) - 2)
    before, after, fraction = way[number], way[number + 1], place - number

    def between(a: int, b: int) -> int:
        return max(1, round(pow(a, 1 - fraction) * pow(b, fraction)))

    return {
        name: Choice(between(a.kept, after[name].kept), between(a.values, after[name].values))
        for name, a in before.items()
    }


def angles(t: Tensor, kept: Tensor, rounded: Tensor) -> tuple[float, float]:
    """The distortion of pruning a tensor, and that of rounding what is left: ``−log cos²`` of each.

    Args:
        t: the tensor.
        kept: the same, with zeros where it was pruned.
        rounded: the pruned one, with rounded values.
    """
    whole, part = (float(a.double().square().sum()) for a in (t, kept))
    lost, error = (float((a - b).double().square().sum()) for a, b in ((t, kept), (kept, rounded)))
    return float(_angle(lost, whole)), float(_angle(error, part))


def _angle(error: _Table | float, energy: _Table | float) -> _Table:
    fraction = np.asarray(error) / np.maximum(energy, _TINY)
    found: _Table = -np.log1p(-fraction.clip(0, 1 - _TINY))
    return found


def _distortions(
    t: Tensor,
    counts: NDArray[np.int64],
    bits: Sequence[int],
    distortion: Distortion,
    books: bool,
) -> _Table:
    """The distortion of the K largest weights in 2ᵇ values, for each K and b."""
    ordered = t.detach().flatten().double().cpu()
    ordered = ordered[ordered.abs().argsort(descending=True)]
    energy = torch.cat([ordered.new_zeros(1), ordered.square().cumsum(0)]).numpy()
    cut = _angle(energy[-1] - energy[counts], energy[-1])
    if not books:
        return np.repeat(distortion.cut(cut)[:, None], len(bits), axis=1)
    return distortion.cut(cut)[:, None] + distortion.rounding(
        _roundings(ordered, energy, counts, bits)
    )


def _roundings(
    ordered: Tensor, energy: _Table, counts: NDArray[np.int64], bits: Sequence[int]
) -> _Table:
    """Angles by which codebooks turn the K largest, on a sample; some of the K are looked at."""
    anchors = counts[np.unique(np.linspace(0, len(counts) - 1, _ANCHORS).round().astype(int))]
    errors = []
    for count in anchors.tolist():
        some = ordered[:count][:: -(-count // _SAMPLE)]
        each = [(t - some).square().sum() for t in sketches(some, (1 << b for b in bits))]
        errors.append([float(e * (count / len(some))) for e in each])
    known = _angle(np.array(errors), energy[anchors][:, None])
    logs = np.log(anchors), np.log(counts)
    return np.stack([np.interp(logs[1], logs[0], angles) for angles in known.T], axis=1)
