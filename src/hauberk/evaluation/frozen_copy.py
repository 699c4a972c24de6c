"""The frozen copy of a network that is evaluated; the original is never changed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hauberk.attack import finite
from hauberk.parametrize.plain import copied
from hauberk.types import Images


class FrozenCopy(nn.Module):
    """A copy of a network in eval mode, without parameter gradients, in the fastest memory format.

    The original keeps its mode, statistics, gradients and layout. Images pass through the copy in
    the format of `memory_format`; their gradients are contiguous and finite.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.inner = copied(model).eval().requires_grad_(False)
        self.format = memory_format(model)
        for tensor in (*self.inner.parameters(), *self.inner.buffers()):
            tensor.grad = None
            if tensor.ndim == 4:
                tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Images) -> Tensor:
        """Logits (batch, class), in float32, which attacks and losses compute in."""
        turned = x.ndim == 4 and self.format is torch.channels_last
        logits = self.inner(_entering(x, turned))
        if not isinstance(logits, Tensor):
            return logits  # type: ignore[no-any-return]  # whoever checks the network names it
        if torch.is_grad_enabled() and x.requires_grad:
            logits = _linked(logits, x)
        return logits.float()


def freeze(model: nn.Module) -> FrozenCopy:
    """The frozen copy of a network; the network itself if it is one already."""
    return model if isinstance(model, FrozenCopy) else FrozenCopy(model)


def memory_format(model: nn.Module) -> torch.memory_format:
    """The memory format of images that runs fastest.

    Channels-last for networks with two-dimensional convolutions (1.4 to 2 times faster for small
    ones on CPUs), contiguous for others, such as an ONNX Runtime session.
    """
    filters = any(tensor.ndim == 4 for tensor in model.parameters())
    return torch.channels_last if filters else torch.contiguous_format


def _linked(logits: Tensor, x: Tensor) -> Tensor:
    out: Tensor = _Linked.apply(logits, x)  # type: ignore[no-untyped-call]
    return out


class _Linked(torch.autograd.Function):
    """The logits, with a gradient for a network that has none at all: zero."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return logits.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        (x,) = ctx.saved_tensors
        return grads[0], torch.zeros_like(x)


def _entering(x: Tensor, channels_last: bool) -> Tensor:
    out: Tensor = _Entering.apply(x, channels_last)  # type: ignore[no-untyped-call]
    return out


class _Entering(torch.autograd.Function):
    """The same values, in another memory format if asked; the gradient is contiguous and finite.

    Attacks view the gradient, and a NaN in it would stop them or make their images NaN.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, channels_last: bool) -> Tensor:
        # copy even if the layout fits already: the output must not alias the input
        kept = torch.channels_last if channels_last else torch.preserve_format
        return x.clone(memory_format=kept)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return finite(grads[0].contiguous()), None
