"""Half precision as a set: ``{w : every w_i is a finite float16}``, rounding as its projection."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.constraints.checks import refuse_nonfinite
from hauberk.problem import Constraint
from hauberk.types import Weights

_BITS = 16
_LARGEST = torch.finfo(torch.float16).max


@dataclass(frozen=True)
class Float16(Constraint):
    """``{w : w_i = float16(w_i)}``, in [−65504, 65504], for weights of any floating type."""

    @torch.no_grad()
    def project(self, w: Weights) -> dict[str, Tensor]:
        """``argmin ‖w' − w‖``: the nearest float16, ties to even; beyond ±65504 that number."""
        refuse_nonfinite(w)
        return {name: _round(t) for name, t in w.items()}

    def size_bits(self, w: Weights) -> int:
        """16 for each weight."""
        return _BITS * sum(t.numel() for t in w.values())

    def budget_bits(self, w: Weights) -> int:
        """The same: every point of the set has the same cost."""
        return self.size_bits(w)


def _round(t: Tensor) -> Tensor:
    largest = t.new_tensor(_LARGEST)
    if float(largest) > _LARGEST:  # bfloat16 has no 65504: its neighbour below is a float16
        largest = largest.nextafter(torch.zeros_like(largest))
    return t.clamp(-largest, largest).half().to(t.dtype)
