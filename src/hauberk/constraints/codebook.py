"""Quantisation as a set: ``{w : tensor l has at most m_l distinct non-zero values}``, zero free.

Source: ATMC (Gui et al. 2019, arXiv 1902.03538, eq. 7). Departure: zero takes part in the k-means
as a fixed centroid, as the set allows, so that a small weight may become zero; clustering the
non-zeros among themselves, as the published code does, is not the nearest point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, log2
from types import MappingProxyType

import torch
from torch import Tensor

from hauberk.constraints.checks import refuse_nonfinite
from hauberk.ops.information import FLOAT_BITS, choice_bits
from hauberk.ops.kmeans import kmeans
from hauberk.problem import Constraint
from hauberk.types import Weights


@dataclass(frozen=True)
class Codebook(Constraint):
    """``{w : |{distinct non-zero values of w_l}| ≤ m_l for each tensor l}``, m_l = 2ᵇ by default.

    Attributes:
        bits: b, from 1 to 16.
        values: m_l by tensor name, from 1 to 65,536, where it differs from 2ᵇ.

    Raises:
        ValueError: for bits outside 1…16.
    """

    bits: int
    values: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if isinstance(self.bits, bool) or not 1 <= self.bits <= 16 or int(self.bits) != self.bits:
            raise ValueError(f"bits {self.bits} is outside 1…16: give a whole number of bits in it")
        for name, values in self.values.items():
            if not 1 <= values <= 1 << 16:
                raise ValueError(f"{name} was given {values} values: give a number in 1…65,536")

    def project(self, w: Weights) -> dict[str, Tensor]:
        """``argmin ‖w' − w‖``: 1-D k-means per tensor with zero fixed.

        Exact while (distinct values)² · m_l ≤ 2²², else a heuristic; see `hauberk.ops.kmeans`.
        """
        refuse_nonfinite(w)
        return {name: kmeans(t, self._count(name)) for name, t in w.items()}

    def size_bits(self, w: Weights) -> int:
        """Per tensor the codebook, where the non-zeros are, and an index for each."""
        return ceil(sum(self._tensor_bits(name, t) for name, t in w.items()))

    def budget_bits(self, w: Weights) -> int:
        """Per tensor a full codebook and one of ``2ᵇ + 1`` symbols for each weight."""
        return ceil(sum(self._most_bits(name, t) for name, t in w.items()))

    def _count(self, name: str) -> int:
        return self.values.get(name, 1 << self.bits)

    def _most_bits(self, name: str, t: Tensor) -> float:
        codes = self._count(name)
        return FLOAT_BITS * min(codes, t.numel()) + log2(codes + 1) * t.numel()

    def _tensor_bits(self, name: str, t: Tensor) -> float:
        alive = t[t != 0]
        table = FLOAT_BITS * len(torch.unique(alive))
        return table + choice_bits(t.numel(), len(alive)) + log2(self._count(name)) * len(alive)
