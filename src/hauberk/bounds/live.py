"""Interval bounds through a module as it trains: differentiable, in the network's own precision.

A `LiveBox` is given to the module in place of images: torch's functions, which layers call, find
bounds where they would find values. Weights may be parametrised; batch norm in training takes the
statistics of the box's centre. Rounding is left out: a certificate is computed on the file, by
`hauberk.bounds.certify`.

Source: Gowal et al. (2018), arXiv 1810.12715; the last linear layer is joined with the margins, as
there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.bounds.boxes import Box
from hauberk.runtime.packages import gist
from hauberk.types import Labels


@dataclass(frozen=True, eq=False)
class _Last:
    """A linear layer, kept so that margins are bounded through it."""

    low: Tensor
    high: Tensor
    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True, eq=False)
class LiveBox:
    """Bounds of a tensor that a module computes.

    Attributes:
        low: (batch, …).
        high: likewise.
        last: the linear layer that made it, if one did.
    """

    low: Tensor
    high: Tensor
    last: _Last | None = None

    @property
    def shape(self) -> torch.Size:
        """Of the tensor."""
        return self.low.shape

    @property
    def ndim(self) -> int:
        """Axes of the tensor."""
        return self.low.ndim

    @property
    def device(self) -> torch.device:
        """Of the bounds."""
        return self.low.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the bounds."""
        return self.low.dtype

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Torch's functions on bounds.

        Raises:
            ValueError: a function that has no bound.
        """
        name = getattr(func, "__name__", str(func)).removesuffix("_")
        if name not in _RULES:
            raise ValueError(
                f"Certified training knows no bound of {name}; use affine layers, relu, leaky "
                "relu, max and average pooling, batch norm and sums."
            )
        found: Any = _RULES[name](*args, **(kwargs or {}))
        return found

    def __getattr__(self, name: str) -> Any:
        """A method of tensors, such as ``x.flatten(1)`` or ``x + y``."""
        if name in ("size", "dim"):
            return getattr(self.low, name)
        if name not in _RULES:
            raise AttributeError(name)
        return lambda *args, **kwargs: _RULES[name](self, *args, **kwargs)

    def __len__(self) -> int:
        return len(self.low)

    def __add__(self, other: Any) -> Self:
        return _added(self, other)  # type: ignore[return-value]

    __radd__ = __add__

    def __sub__(self, other: Any) -> Self:
        return _added(self, -other)  # type: ignore[return-value]

    def __neg__(self) -> LiveBox:
        return LiveBox(-self.high, -self.low)

    def __mul__(self, other: Any) -> Self:
        return _times(self, other)  # type: ignore[return-value]

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Self:
        return _times(self, 1 / other)  # type: ignore[return-value]

    def margins(self, y: Labels) -> Tensor:
        """Lower bounds of ``z_y − z_j``, (batch, class); 0 for class y.

        Args:
            y: labels.
        """
        if self.last is None:
            low = self.low.gather(1, y[:, None]) - self.high
        else:
            low = _joined(self.last, y)
        return low.scatter(1, y[:, None], 0.0)


def live(model: nn.Module, box: Box) -> LiveBox:
    """The bounds of a module's outputs.

    Args:
        model: in training or in eval mode.
        box: of the images.

    Raises:
        ValueError: a layer that has no bound, or outputs that are no logits.
    """
    try:
        found = model(LiveBox(box.low, box.high))
    except (AttributeError, TypeError) as error:
        raise ValueError(
            f"Certified training cannot follow this network's forward: {gist(error)}"
        ) from error
    if not isinstance(found, LiveBox) or found.ndim != 2:
        raise ValueError(
            "Certified training needs a network that returns logits (batch, class) by torch's "
            "functions on its input; this one does not."
        )
    return found


def _joined(last: _Last, y: Labels) -> Tensor:
    change = last.weight[y][:, None] - last.weight[None]
    centre, radius = (last.high + last.low) / 2, (last.high - last.low) / 2
    low = torch.einsum("bki,bi->bk", change, centre)
    low = low - torch.einsum("bki,bi->bk", change.abs(), radius)
    if last.bias is not None:
        low = low + last.bias[y][:, None] - last.bias[None]
    return low


def _affine(function: Callable[..., Tensor]) -> Callable[..., LiveBox]:
    """A layer with a weight and a bias."""

    def rule(
        x: LiveBox, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> LiveBox:
        centre = function((x.high + x.low) / 2, weight, bias, *args, **kwargs)
        radius = function((x.high - x.low) / 2, weight.abs(), None, *args, **kwargs)
        last = _Last(x.low, x.high, weight, bias) if function is F.linear and x.ndim == 2 else None
        return LiveBox(centre - radius, centre + radius, last)

    return rule


def _batch_norm(
    x: LiveBox,
    mean: Tensor | None,
    var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> LiveBox:
    if training or mean is None or var is None:
        centre = (x.high + x.low) / 2
        axes = [0, *range(2, x.ndim)]
        var, mean = torch.var_mean(centre, axes, correction=0)
    factor = torch.rsqrt(var + eps)
    factor = factor if weight is None else factor * weight
    shift = -mean * factor
    shift = shift if bias is None else shift + bias
    each = (-1, *[1] * (x.ndim - 2))
    moved = _times(x, factor.view(each))
    return LiveBox(moved.low + shift.view(each), moved.high + shift.view(each))


def _both(function: Callable[..., Tensor]) -> Callable[..., LiveBox]:
    """A function that is monotone in every entry."""

    def rule(x: LiveBox, *args: Any, **kwargs: Any) -> LiveBox:
        return LiveBox(function(x.low, *args, **kwargs), function(x.high, *args, **kwargs))

    return rule


def _leaky_relu(x: LiveBox, negative_slope: float = 0.01, inplace: bool = False) -> LiveBox:
    if not 0 <= negative_slope <= 1:
        raise ValueError(f"leaky relu has the slope {negative_slope}; give one in [0, 1].")
    return LiveBox(F.leaky_relu(x.low, negative_slope), F.leaky_relu(x.high, negative_slope))


def _relu(x: LiveBox, inplace: bool = False) -> LiveBox:
    return LiveBox(x.low.clamp_min(0), x.high.clamp_min(0))


def _dropout(x: LiveBox, p: float = 0.5, training: bool = True, inplace: bool = False) -> LiveBox:
    """One draw for both ends."""
    kept = F.dropout(torch.ones_like(x.low), p, training)
    return LiveBox(x.low * kept, x.high * kept)


def _added(x: Any, other: Any, alpha: float = 1) -> LiveBox:
    if not isinstance(x, LiveBox):
        x, other, alpha = other * alpha, x, 1
    if isinstance(other, LiveBox):
        other = _times(other, alpha)
        return LiveBox(x.low + other.low, x.high + other.high)
    return LiveBox(x.low + alpha * other, x.high + alpha * other)


def _times(x: Any, by: Any) -> LiveBox:
    if isinstance(x, LiveBox) and isinstance(by, LiveBox):
        raise ValueError("Certified training knows no bound of a product of two activations.")
    if not isinstance(x, LiveBox):
        x, by = by, x
    one, two = x.low * by, x.high * by
    return LiveBox(torch.minimum(one, two), torch.maximum(one, two))


def _cat(parts: Sequence[LiveBox], dim: int = 0) -> LiveBox:
    return LiveBox(torch.cat([p.low for p in parts], dim), torch.cat([p.high for p in parts], dim))


def _same(x: LiveBox, *_: Any, **__: Any) -> LiveBox:
    return replace(x)


_RULES: dict[str, Callable[..., LiveBox]] = {
    "conv1d": _affine(F.conv1d),
    "conv2d": _affine(F.conv2d),
    "linear": _affine(F.linear),
    "batch_norm": _batch_norm,
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "dropout": _dropout,
    "max_pool2d": _both(F.max_pool2d),
    "avg_pool2d": _both(F.avg_pool2d),
    "adaptive_avg_pool2d": _both(F.adaptive_avg_pool2d),
    "mean": _both(torch.mean),
    "flatten": _both(torch.flatten),
    "view": _both(Tensor.view),
    "reshape": _both(Tensor.reshape),
    "permute": _both(torch.permute),
    "squeeze": _both(torch.squeeze),
    "unsqueeze": _both(torch.unsqueeze),
    "cat": _cat,
    "add": _added,
    "mul": _times,
    "contiguous": _same,
    "float": _same,
}
"""By the names of torch's functions and of the methods of tensors."""
