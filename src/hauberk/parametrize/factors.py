"""Factors of a matrix: W = U V + C (ATMC, arXiv 1902.03538, eq. 5)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


class Factors(NamedTuple):
    """A matrix stored as ``W = U V + C``, viewed as ``shape``."""

    u: Float[Tensor, "out inner"]
    v: Float[Tensor, "inner columns"]
    c: Float[Tensor, "out columns"]
    shape: tuple[int, ...]

    def dense(self) -> Tensor:
        """``U V + C``, summed in float64: each row is Σ_k u_k v_k, k ascending, then C is added.

        A matrix product is not used, because a library's order of summation depends on the
        machine, and every machine must decode a file to the same bits.
        """
        left, right = (t.double().cpu().numpy() for t in (self.u, self.v))
        total = np.zeros((left.shape[0], right.shape[1]))
        for row, weights in zip(total, left, strict=True):
            for k in np.flatnonzero(weights):
                row += weights[k] * right[k]
        total += self.c.double().cpu().numpy()
        return torch.from_numpy(total).to(self.v.dtype).reshape(self.shape)
