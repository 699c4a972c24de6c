"""Gradients with respect to images of few channels, on a CPU: the first convolution's, as fast as
the others'.

Kernels for CPUs compute channels in blocks of 16 or so. What a convolution passes back to a grey
image has one channel, and the rest of the block is computed for nothing: in a LeNet that was a
third of a whole gradient. Here b x b neighbouring pixels are as many channels of one convolution of
stride b, whose filters hold the flipped filter at each of the b² offsets; shuffled into place they
are the same sums, in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_MOST_CHANNELS = 4
"""Of an image, above which the kernels' blocks are full enough."""
_LEAST = 4_000_000
"""Products in a convolution, below which laying out its filters takes longer than is won."""


def image_gradients(model: nn.Module) -> AbstractContextManager[object]:
    """Inside, convolutions pass gradients back to images of few channels in full blocks.

    Only where filters are frozen, in float32 on a CPU; everything else is as it was. A compiled
    network has kernels of its own.
    """
    first = next(model.parameters(), None)
    cpu = first is not None and first.device.type == "cpu"
    return _Blocks() if cpu and model._compiled_call_impl is None else nullcontext()


class _Blocks(TorchFunctionMode):
    """Sees every call of torch; convolutions of images that want a gradient are its own."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        ours = func is torch.conv2d and not kwargs and len(args) == 7
        if ours and _fits(*args):
            x, w, bias, _, padding, *_ = args
            return _Conv.apply(x, w, bias, _pair(padding))  # type: ignore[no-untyped-call]
        return func(*args, **kwargs or {})


def _fits(
    x: Tensor, w: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int
) -> bool:
    """Whether it is the case that is gained by: a frozen filter, each pixel its centre once."""
    return (
        x.requires_grad
        and x.ndim == 4
        and x.dtype == torch.float32
        and not w.requires_grad
        and (bias is None or not bias.requires_grad)
        and w.shape[1] <= _MOST_CHANNELS
        and groups == 1
        and _pair(stride) == _pair(dilation) == (1, 1)
        and not isinstance(padding, str)
        and all(p < k for p, k in zip(_pair(padding), w.shape[2:], strict=True))
        and not torch.is_autocast_enabled("cpu")
        and x.shape[0] * x.shape[2] * x.shape[3] * w.numel() >= _LEAST
    )


def _pair(given: Any) -> tuple[int, int]:
    """For height and width, given as one number, one in a sequence, or two."""
    found = (given,) if isinstance(given, int) else tuple(given)
    return (found[0], found[-1])


class _Conv(torch.autograd.Function):
    """``conv2d(x, w, bias, padding)``; only ``x`` has a gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, padding: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(w)
        ctx.padding, ctx.size = padding, x.shape[2:]
        return F.conv2d(x, w, bias, padding=padding)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (w,) = ctx.saved_tensors
        return to_image(grads[0], w, ctx.padding, ctx.size), None, None, None


def to_image(g: Tensor, w: Tensor, padding: Sequence[int], size: Sequence[int]) -> Tensor:
    """``∂/∂x ⟨g, conv2d(x, w, padding)⟩`` for stride 1.

    Args:
        g: (batch, filter, height, width), as large as the convolution's output.
        w: filters (filter, channel, height, width).
        padding: of the convolution, less than the filter's sides.
        size: height and width of the image x.

    Returns:
        (batch, channel, height, width).
    """
    b = 4 if w.shape[1] == 1 else 2
    wide = [-(-side // b) * b for side in size]  # in whole blocks; the last may hang over
    high, across = (k - 1 - p for k, p in zip(w.shape[2:], padding, strict=True))
    over, beyond = (large - side for large, side in zip(wide, size, strict=True))
    kernel = _offsets(w, b)
    if over or beyond:
        g = F.pad(g, (across, across + beyond, high, high + over))
        high = across = 0
    blocks = F.conv2d(g, kernel, stride=b, padding=(high, across))
    return F.pixel_shuffle(blocks, b)[..., : size[0], : size[1]]


def _offsets(w: Tensor, b: int) -> Tensor:
    """Filters (channel · b², filter, height + b − 1, width + b − 1): the flipped ones, shifted."""
    high, wide = (k + b - 1 for k in w.shape[2:])
    room = F.pad(w, (b - 1,) * 4).flip(2, 3).transpose(0, 1)
    shifted = room.unfold(2, high, 1).unfold(3, wide, 1).flip(2, 3)
    return shifted.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).to(memory_format=torch.channels_last)
