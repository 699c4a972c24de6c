"""Quantisation as a set: ``{w : each tensor has at most 2ᵇ distinct non-zero values}``, zero free.

Source: ATMC (Gui et al. 2019, arXiv 1902.03538, eq. 7). Departure: zero takes part in the k-means
as a fixed centroid, as the set allows, so that a small weight may become zero; clustering the
non-zeros among themselves, as the published code does, is not the nearest point.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

import torch
from torch import Tensor

from hauberk.constraints.checks import refuse_nonfinite
from hauberk.ops.bits import FLOAT_BITS, choice_bits
from hauberk.ops.kmeans import kmeans
from hauberk.problem import Constraint
from hauberk.types import Weights


@dataclass(frozen=True)
class Codebook(Constraint):
    """``{w : |{distinct non-zero values of w_l}| ≤ 2ᵇ for each tensor l}``.

    Attributes:
        bits: b, from 1 to 16.

    Raises:
        ValueError: for bits outside 1…16.
    """

    bits: int

    def __post_init__(self) -> None:
        if isinstance(self.bits, bool) or not 1 <= self.bits <= 16 or int(self.bits) != self.bits:
            raise ValueError(f"bits {self.bits} is outside 1…16: give a whole number of bits in it")

    def project(self, w: Weights) -> dict[str, Tensor]:
        """``argmin ‖w' − w‖``: 1-D k-means per tensor, zero fixed (see `hauberk.ops.kmeans`)."""
        refuse_nonfinite(w)
        return {name: kmeans(t, 1 << self.bits) for name, t in w.items()}

    def size_bits(self, w: Weights) -> int:
        """Per tensor the codebook, where the non-zeros are, and an index for each."""
        return ceil(sum(self._tensor_bits(t) for t in w.values()))

    def budget_bits(self, w: Weights) -> int:
        """Per tensor a full codebook and one of ``2ᵇ + 1`` symbols for each weight."""
        codes = 1 << self.bits
        tables = FLOAT_BITS * sum(min(codes, t.numel()) for t in w.values())
        return tables + ceil(log2(codes + 1) * sum(t.numel() for t in w.values()))

    def _tensor_bits(self, t: Tensor) -> float:
        alive = t[t != 0]
        table = FLOAT_BITS * len(torch.unique(alive))
        return table + choice_bits(t.numel(), len(alive)) + self.bits * len(alive)
