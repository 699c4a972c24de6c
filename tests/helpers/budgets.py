"""Budgets in bytes for trees of weights: a share of the way from the least to the whole."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from hauberk.allocation.byte_budget import ByteBudget, Choice, Codec, cut
from hauberk.allocation.distortion import Distortion
from hauberk.artifact.lengths import bits, price
from hauberk.types import Weights


@dataclass(frozen=True)
class BudgetRow:
    """A budget in bytes between what one weight in each layer takes and what the tree takes.

    Attributes:
        name: for the test's name.
        share: how far between the two, above 0; the tree itself is feasible from 1 on.
        most_bits: of a codebook.
        distortion: what is felt of the angles, the same in each layer.
    """

    name: str
    share: float
    most_bits: int = 8
    distortion: Distortion | None = None

    def make(self, w: Weights) -> ByteBudget:
        least, whole = (
            sum(map(bits, each.values())) for each in (cut(w, dict.fromkeys(w, Choice(1, 1))), w)
        )
        limit = ceil(least + self.share * max(0.0, whole - least))
        distortions = dict.fromkeys(w, self.distortion) if self.distortion else {}
        return ByteBudget(limit, Codec(bits, price), self.most_bits, distortions)

    def __str__(self) -> str:
        return self.name
