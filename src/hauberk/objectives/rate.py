"""Rate: the expected size of the file, as a differentiable objective: min_w log bits(w).

    bits(w) = Σ_l r_l · N_l H(k_l / N_l) + h_l k_l + f_l,   k_l = Σ_i g(w_i / t_l)
    g(m) = m² / (1 + m²) = σ(2 log |m|)

k is the expected number of kept weights, each kept with a probability g that is a sigmoid in the
logarithm of its magnitude; N H is the codec's cost of the gaps between non-zeros, r the fraction of
it that remains where rows and columns differ in density; h is the code of a kept weight, f
everything that does not depend on k. Source: Geman and McClure, 1987, for g; the entropy is the
codec's own.
Departure: the codec's numbers are constants of a stage, measured once at its weights: training
changes which weights are kept. The logarithm makes λ of `DualAscent` independent of the
size of a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn

from hauberk.batch import Batch
from hauberk.problem import Bound, Loss, Objective
from hauberk.types import Scalar, Weights

_TINY = 1e-12


@dataclass(frozen=True)
class TensorRate:
    """Cost in a file of one tensor's kept weights.

    Attributes:
        threshold: t, the magnitude that is kept with probability ½.
        ratio: bits of the positions, relative to as many uniformly random ones.
        code_bits: h, of the value of a kept weight.
        fixed_bits: codebook and counts, independent of what is kept.

    Raises:
        ValueError: a threshold that is not positive, or a negative cost.
    """

    threshold: float
    ratio: float = 1.0
    code_bits: float = 4.0
    fixed_bits: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.threshold < inf:
            raise ValueError(f"threshold was given as {self.threshold}; give a positive magnitude.")
        if not min(self.ratio, self.code_bits, self.fixed_bits) >= 0:
            raise ValueError(f"{self} has a negative cost; give 0 or more.")

    def kept(self, t: Tensor) -> Scalar:
        """k: the expected number of kept weights."""
        square = (t / self.threshold).square()
        return (square / (1 + square)).sum()

    def bits(self, t: Tensor) -> Scalar:
        """The expected bits of ``t``."""
        kept = self.kept(t)
        places = self.ratio * t.numel() * _entropy(kept / t.numel())
        return places + self.code_bits * kept + self.fixed_bits

    @staticmethod
    def of(
        t: Tensor, threshold: float, position_bits: float, code_bits: float, fixed_bits: float
    ) -> TensorRate:
        """The rate of a sparse tensor, from its bits in a file.

        Args:
            t: sparse.
            threshold: the magnitude that is kept with probability ½.
            position_bits: of its positions.
            code_bits: of its codes, all of them.
            fixed_bits: of its codebook.
        """
        kept = max(1, int(torch.count_nonzero(t)))
        anywhere = t.numel() * float(_entropy(torch.tensor(kept / t.numel(), dtype=torch.float64)))
        ratio = position_bits / max(anywhere, 1.0)
        return TensorRate(threshold, ratio, code_bits / kept, fixed_bits)


@dataclass(frozen=True, eq=False)
class Rate(Objective):
    """``log`` of the file's expected bits; ``bytes`` is among its metrics.

    Attributes:
        rates: of each parameter that is compressed, by name.
        rest_bits: of everything else in the file.
    """

    rates: Mapping[str, TensorRate]
    rest_bits: float = 0.0

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """The same for every batch."""
        parameters = dict(model.named_parameters())
        bits = self.bits({name: parameters[name] for name in self.rates}) + self.rest_bits
        return Loss(bits.log(), {"bytes": bits.detach() / 8})

    def bits(self, w: Weights) -> Scalar:
        """Expected bits of these tensors, differentiable in them."""
        return torch.stack([rate.bits(w[name]) for name, rate in self.rates.items()]).sum()


@dataclass(frozen=True, eq=False)
class Held:
    """An objective as the differentiable side of a bound.

    Attributes:
        objective: its loss is the surrogate of the strict value.
    """

    objective: Objective

    def __call__(self, model: nn.Module, batch: Batch) -> Scalar:
        """The loss on a batch."""
        return self.objective(model, batch).value

    def bound(self, strict: Callable[[nn.Module], float], limit: float) -> Bound:
        """``strict ≤ limit``, with this loss as its surrogate."""
        return Bound(self, strict, limit)


def _entropy(p: Tensor) -> Tensor:
    """``H(p)`` in bits."""
    p = p.clamp(_TINY, 1 - 1e-6)
    return -(p * p.log2() + (1 - p) * (1 - p).log2())
