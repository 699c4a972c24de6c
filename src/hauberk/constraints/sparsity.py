"""Pruning as a set: ``{w : at most K groups of the whole tree are not zero}``, for any groups.

The projection keeps the K groups of largest norm, over all layers at once. Source: ATMC (Gui et
al. 2019, arXiv 1902.03538, eq. 6) for the global ℓ0 budget; the falling budget is the cubic
schedule of Zhu & Gupta 2017 (arXiv 1710.01878, eq. 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil, floor

import torch
from torch import Tensor

from hauberk.constraints.checks import refuse_nonfinite
from hauberk.ops.groups import Grouping, Split, Weight
from hauberk.ops.information import choice_bits, most_choice_bits
from hauberk.ops.topk import cut_smallest, keep_largest
from hauberk.problem import Constraint
from hauberk.types import Weights

_DEAD = 1e-12
"""Groups below this fraction of their layer's largest set no scale: weight averages leave them."""


@dataclass(frozen=True)
class Sparsity(Constraint):
    """``{w : Σ_g [w_g ≠ 0] ≤ K}`` over the groups of the whole tree.

    With `NofM` groups, runs of m entries compete for K and each keeps its n largest: ``keep=1.0``
    is then the plain n-of-m pattern.

    Attributes:
        keep: a float in (0, 1] is a fraction of all groups, rounded down but at least one
            group; an int counts groups.
        groups: the entries that are pruned together.
        scales: weighs each tensor's norm: the projection is the nearest point in
            ``Σ_l s_l² ‖w'_l − w_l‖²``; `balanced` gives the usual ones. None is the plain norm.

    Raises:
        ValueError: for a keep outside these ranges, or a weight that the grouping cannot take.
    """

    keep: float | int
    groups: Grouping = field(default_factory=Weight)
    scales: Mapping[str, float] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _check_keep("keep", self.keep)

    @torch.no_grad()
    def balanced(self, w: Weights) -> Sparsity:
        """The same set with scales under which ``w`` is pruned as LAMP would prune it.

        The scale of a layer does not show its importance if its neighbours can compensate for it,
        and a threshold on raw magnitudes may then remove a whole layer. LAMP (Lee et al., 2021,
        arXiv 2010.07611) scores a group by ``s_g² / Σ s_h²`` over the layer's groups h that are at
        least as large; the K best of the whole tree say how many a layer keeps.
        """
        sizes = {name: self._sizes(t) for name, t in w.items()}
        relative = {
            n: s * s / s.double().square().cumsum(0).clamp_min(1e-300) for n, s in sizes.items()
        }
        alive = keep_largest(relative, self._count(self._splits(w)))
        return self.weighed(w, {name: int(torch.count_nonzero(alive[name])) for name in w})

    @torch.no_grad()
    def weighed(self, w: Weights, counts: Mapping[str, int]) -> Sparsity:
        """The same set with scales under which ``w`` keeps so many groups of each tensor.

        A layer's scale is one over the smallest group it keeps. If that group is zero or negligible
        next to the largest, the scale ranks all its non-zero groups before those of others.
        """
        scales = {}
        for name, t in w.items():
            size, kept = self._sizes(t).double(), max(1, counts[name])
            if not size.any():
                scales[name] = 1.0
                continue
            least = float(size[min(kept, len(size)) - 1])
            scales[name] = 1 / max(least, _DEAD * float(size[0]), 1e-30)
        return replace(self, scales=scales)

    def _sizes(self, t: Tensor) -> Tensor:
        """The groups' norms, largest first."""
        return self.groups.scores(t).flatten().sort(descending=True).values

    @torch.no_grad()
    def project(self, w: Weights) -> dict[str, Tensor]:
        """``argmin ‖w' − w‖  s.t.  at most K groups ≠ 0``: the K of largest norm, whole tree.

        Ties go to the lowest name, then to the lowest index.
        """
        refuse_nonfinite(w)
        splits = self._splits(w)
        scale = self.scales or dict.fromkeys(w, 1.0)
        if isinstance(self.groups, Weight):  # a pass over the weights, with no scores and no masks
            return cut_smallest(w, self._count(splits), scale)
        scores = {name: self.groups.scores(t) * scale[name] for name, t in w.items()}
        alive = keep_largest(scores, self._count(splits))
        groups = self.groups
        return {name: torch.where(groups.expand(alive[name], t), t, 0) for name, t in w.items()}

    def size_bits(self, w: Weights) -> int:
        """Bits that say which groups are not zero, and the floats of those."""
        splits = self._splits(w)
        total = sum(s.groups for s in splits.values())
        living = {n: int(torch.count_nonzero(self.groups.scores(t))) for n, t in w.items()}
        values = sum(splits[name].bits * count for name, count in living.items())
        return ceil(choice_bits(total, sum(living.values())) + values)

    def budget_bits(self, w: Weights) -> int:
        """The same with the K groups that cost most, in any layers."""
        splits = sorted(self._splits(w).values(), key=lambda s: -s.bits)
        total = sum(s.groups for s in splits)
        left = keep = self._count(self._splits(w))
        bits = most_choice_bits(total, keep)
        for split in splits:
            bits += min(left, split.groups) * split.bits
            left -= min(left, split.groups)
        return ceil(bits)

    def count(self, w: Weights) -> int:
        """K: the number of groups of this tree that may be non-zero."""
        return self._count(self._splits(w))

    def _count(self, splits: dict[str, Split]) -> int:
        total = sum(s.groups for s in splits.values())
        if isinstance(self.keep, int):
            return min(self.keep, total)
        return max(1, floor(self.keep * total * (1 + 1e-12)))  # 0.29 · 100 is 28.999… in floats

    def _splits(self, w: Weights) -> dict[str, Split]:
        splits = {}
        for name, t in w.items():
            try:
                splits[name] = self.groups.split(t.shape)
            except ValueError as error:
                raise ValueError(f"the weight {name!r} cannot be pruned: {error}") from error
        return splits


@dataclass(frozen=True)
class Annealed(Constraint):
    """A `Sparsity` whose budget falls over the stage: groups that were pruned early can return.

    ``K(t) = K + (start · G − K)(1 − t/until)³`` of G groups while t < until, then K.

    Attributes:
        target: the set at the end.
        start: fraction of the groups that are kept at the beginning, in (0, 1].
        until: fraction of the stage after which the target is in force, in (0, 1].
        progress: t, the fraction of the stage that is done; `at` sets it.

    Raises:
        ValueError: for a start or an until outside (0, 1], or a progress outside [0, 1].
    """

    target: Sparsity
    start: float = 1.0
    until: float = 0.6
    progress: float = 1.0

    def __post_init__(self) -> None:
        _check_keep("start", float(self.start))
        _check_keep("until", float(self.until))
        if not 0 <= self.progress <= 1:
            raise ValueError(
                f"progress {self.progress} is outside [0, 1]: give a fraction of a stage"
            )

    def at(self, progress: float) -> Annealed:
        """The set in force when ``progress`` in [0, 1] of the stage is done."""
        return replace(self, progress=progress)

    def project(self, w: Weights) -> dict[str, Tensor]:
        """``argmin ‖w' − w‖  s.t.  at most K(t) groups ≠ 0``."""
        return self._now(w).project(w)

    def size_bits(self, w: Weights) -> int:
        """The bits of the set now in force."""
        return self._now(w).size_bits(w)

    def budget_bits(self, w: Weights) -> int:
        """The budget now in force."""
        return self._now(w).budget_bits(w)

    def _now(self, w: Weights) -> Sparsity:
        if self.progress >= self.until:
            return self.target
        first, last = replace(self.target, keep=self.start).count(w), self.target.count(w)
        ease = (1 - self.progress / self.until) ** 3
        # a start below the target would let the budget rise; never below one group
        return replace(self.target, keep=max(1, last + round(max(0, first - last) * ease)))


def _check_keep(name: str, keep: float | int) -> None:
    if isinstance(keep, bool) or (isinstance(keep, int) and keep < 1):
        raise ValueError(f"{name} {keep} is no count of groups: give an int of 1 or more")
    if not isinstance(keep, int) and not 0 < keep <= 1:
        raise ValueError(f"{name} {keep} is outside (0, 1]: give the fraction of groups to keep")
