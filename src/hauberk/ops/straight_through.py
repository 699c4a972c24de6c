"""The straight-through estimator: one function's value with another's gradient.

    through(x, y) = y,   ∂ through / ∂x := 1

Source: Bengio, Léonard, Courville, 2013, arXiv 1308.3432; as an attack on what rounds: Athalye,
Carlini, Wagner, 2018, arXiv 1802.00420, §4.1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Through(torch.autograd.Function):
    """``(x, y) ↦ y`` with the gradient of ``x``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        return y.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def through(x: Tensor, y: Tensor) -> Tensor:
    """The value of ``y`` with the gradient of ``x``, which has the same shape."""
    out: Tensor = _Through.apply(x, y)  # type: ignore[no-untyped-call]
    return out
