"""The operator of each kind of layer, made from the call that ``torch.export`` recorded.

A maker gets the positional arguments of the call, in which None stands for a moving input, the
shapes of the moving inputs and of the output, without the batch, and the named arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hauberk.bounds.operators import Affine, MaxPool, Operator, Relu

Shape = tuple[int, ...]
Maker = Callable[..., Operator]


class NoBound(Exception):
    """A setting that has no bound; the message names it."""


class Size:
    """Stands for a number that depends on the size of the batch."""


def _conv(arguments: Sequence[Any], shapes: Sequence[Shape], after: Shape) -> Operator:
    """A convolution of one or two axes."""
    weight, bias, stride, padding, dilation, groups = _filled(
        arguments, (None, None, None, 1, 0, 1, 1)
    )[1:]
    if not isinstance(weight, Tensor):
        raise NoBound("a weight that depends on the images")
    convolve: Callable[..., Tensor] = (F.conv1d, F.conv2d, F.conv3d)[weight.ndim - 3]
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    w = weight.double()
    shift = None if bias is None else bias.double().view(-1, *[1] * (weight.ndim - 2))
    return Affine(
        lambda x: convolve(x, w, **settings),
        lambda x: convolve(x, w.abs(), **settings),
        shift,
        w[0].numel() + 1,
    )


def _linear(arguments: Sequence[Any], shapes: Sequence[Shape], after: Shape) -> Operator:
    """A linear layer."""
    weight, bias = _filled(arguments, (None, None, None))[1:]
    if not isinstance(weight, Tensor):
        raise NoBound("a weight that depends on the images")
    w = weight.double()
    return Affine(
        lambda x: F.linear(x, w),
        lambda x: F.linear(x, w.abs()),
        None if bias is None else bias.double(),
        w.shape[1] + 1,
    )


def _batch_norm(arguments: Sequence[Any], shapes: Sequence[Shape], after: Shape) -> Operator:
    """Batch norm with its running statistics."""
    _, weight, bias, mean, var, training, _, eps, _ = arguments
    if training or mean is None:
        raise NoBound("statistics of the batch: an image's answer depends on the others")
    factor = torch.rsqrt(var.double() + eps)
    factor = factor if weight is None else factor * weight.double()
    shift = -mean.double() * factor
    scale = shift.abs()
    if bias is not None:
        shift, scale = shift + bias.double(), scale + bias.double().abs()
    each = (-1, *[1] * (len(after) - 1))
    factor, shift, scale = (t.view(each) for t in (factor, shift, scale))
    return Affine(lambda x: x * factor, lambda x: x * factor.abs(), shift, 8, scale)


def _add(
    arguments: Sequence[Any], shapes: Sequence[Shape], after: Shape, alpha: float = 1
) -> Operator:
    return _sum(arguments, shapes, after, float(alpha))


def _sub(
    arguments: Sequence[Any], shapes: Sequence[Shape], after: Shape, alpha: float = 1
) -> Operator:
    return _sum(arguments, shapes, after, -float(alpha))


def _sum(
    arguments: Sequence[Any], shapes: Sequence[Shape], after: Shape, second: float
) -> Operator:
    """``x + s y``, of two moving inputs or of one and a constant."""
    first, other = arguments
    if len(shapes) == 2:
        if shapes[0] != shapes[1]:
            raise NoBound(f"inputs of shapes {shapes[0]} and {shapes[1]}")
        return Affine(lambda x, y: x + second * y, lambda x, y: x + abs(second) * y, terms=2)
    if first is None and other is None:  # x + x
        return _scaled(torch.tensor(1 + second), after, 2)
    sign = 1.0 if first is None else second
    constant = second * _tensor(other) if first is None else _tensor(first)
    if shapes[0] != after:
        raise NoBound(f"a constant that makes {after} of {shapes[0]}")
    constant = _spread(constant, after)
    return Affine(lambda x: sign * x, lambda x: x, constant, 2)


def _mul(arguments: Sequence[Any], shapes: Sequence[Shape], after: Shape) -> Operator:
    """A product with a constant."""
    known = [value for value in arguments if value is not None]
    if len(known) != 1 or len(shapes) != 1:
        raise NoBound("two factors that depend on the images")
    return _scaled(_tensor(known[0]), after, 2)


def _div(arguments: Sequence[Any], shapes: Sequence[Shape], after: Shape) -> Operator:
    """A quotient by a constant."""
    if arguments[1] is None:
        raise NoBound("a divisor that depends on the images")
    return _scaled(1 / _tensor(arguments[1]), after, 3)


def _neg(arguments: Sequence[Any], shapes: Sequence[Shape], after: Shape) -> Operator:
    return _scaled(torch.tensor(-1.0), after, 0)


def _scaled(factor: Tensor, after: Shape, terms: int) -> Operator:
    by = _spread(factor.double(), after)
    return Affine(lambda x: x * by, lambda x: x * by.abs(), terms=terms)


def _reshaped(
    arguments: Sequence[Any], shapes: Sequence[Shape], after: Shape, **_: Any
) -> Operator:
    """The same numbers in another shape."""
    if math.prod(shapes[0]) != math.prod(after):
        raise NoBound(f"a change of {shapes[0]} to {after}")
    same = _reshape(after)
    return Affine(same, same)


def _reshape(after: Shape) -> Callable[[Tensor], Tensor]:
    return lambda x: x.reshape(len(x), *after)


def _permute(arguments: Sequence[Any], shapes: Sequence[Shape], after: Shape) -> Operator:
    axes = arguments[1]
    if axes[0] != 0:
        raise NoBound("the batch among the axes that move")
    return Affine(lambda x: x.permute(axes), lambda x: x.permute(axes))


def _cat(arguments: Sequence[Any], shapes: Sequence[Shape], after: Shape) -> Operator:
    parts, axis = _filled(arguments, (None, 0))
    if axis in (0, -len(after) - 1) or parts != [None] * len(shapes):
        raise NoBound("parts that are equal or do not depend on the images, or along the batch")

    def join(*x: Tensor) -> Tensor:
        return torch.cat(x, axis)

    return Affine(join, join)


def _mean(arguments: Sequence[Any], shapes: Sequence[Shape], after: Shape, **_: Any) -> Operator:
    axes, keep = _filled(arguments, (None, None, False))[1:]
    axes = [axes] if isinstance(axes, int) else axes
    if not axes or 0 in axes:
        raise NoBound("the batch among its axes")

    def mean(x: Tensor) -> Tensor:
        return x.mean(tuple(axes), keepdim=keep)

    return Affine(mean, mean, terms=math.prod(shapes[0]) // max(1, math.prod(after)) + 1)


def _avg_pool(arguments: Sequence[Any], shapes: Sequence[Shape], after: Shape) -> Operator:
    _, kernel, stride, padding, ceil, counted, divisor = _filled(
        arguments, (None, None, (), 0, False, True, None)
    )
    pool = {3: F.avg_pool2d}.get(len(after))
    if pool is None or divisor is not None:
        raise NoBound("other axes than two, or a divisor of its own")

    def mean(x: Tensor) -> Tensor:
        return pool(x, kernel, stride or kernel, padding, ceil, counted)

    return Affine(mean, mean, terms=math.prod(_pair(kernel)) + 1)


def _adaptive_mean(arguments: Sequence[Any], shapes: Sequence[Shape], after: Shape) -> Operator:
    def mean(x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, (after[1], after[2]))

    return Affine(mean, mean, terms=math.prod(shapes[0][1:]) + 1)


def _max_pool(arguments: Sequence[Any], shapes: Sequence[Shape], after: Shape) -> Operator:
    _, kernel, stride, padding, dilation, ceil = _filled(arguments, (None, None, (), 0, 1, False))
    if ceil:
        raise NoBound("ceil_mode")
    kernel = _pair(kernel)
    strides = _pair(stride) if stride else kernel
    return MaxPool(kernel, strides, _pair(padding), _pair(dilation))


def _relu(arguments: Sequence[Any], shapes: Sequence[Shape], after: Shape) -> Operator:
    return Relu()


def _leaky_relu(arguments: Sequence[Any], shapes: Sequence[Shape], after: Shape) -> Operator:
    leak = float(_filled(arguments, (None, 0.01))[1])
    if not 0 <= leak <= 1:
        raise NoBound(f"a slope of {leak}")
    return Relu(leak)


def _filled(arguments: Sequence[Any], defaults: Sequence[Any]) -> list[Any]:
    """The arguments, with defaults for those that were left out at the end."""
    return [*arguments, *defaults[len(arguments) :]]


def _pair(value: Any) -> tuple[int, int]:
    found = [value] if isinstance(value, int) else list(value)
    return (int(found[0]), int(found[-1]))


def _dropout(arguments: Sequence[Any], shapes: Sequence[Shape], after: Shape) -> Operator:
    if _filled(arguments, (None, 0.5, False))[2]:
        raise NoBound("random zeros")
    return _reshaped(arguments, shapes, after)


def _tensor(value: Any) -> Tensor:
    if isinstance(value, Size):
        raise NoBound("a number that depends on the size of the batch")
    return value.double() if isinstance(value, Tensor) else torch.tensor(float(value)).double()


def _spread(value: Tensor, after: Shape) -> Tensor:
    """A constant without a batch axis, as large as the output."""
    if value.ndim > len(after):
        if value.shape[0] != 1:
            raise NoBound("a constant with a batch of its own")
        value = value[0]
    return value.expand(after) if value.ndim else value


MAKERS: dict[str, Maker] = {
    **dict.fromkeys(("conv1d", "conv2d"), _conv),
    "linear": _linear,
    "batch_norm": _batch_norm,
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "neg": _neg,
    **dict.fromkeys(("flatten", "view", "reshape", "squeeze", "unsqueeze"), _reshaped),
    **dict.fromkeys(("clone", "contiguous", "to", "alias", "detach"), _reshaped),
    "dropout": _dropout,
    "permute": _permute,
    "cat": _cat,
    "mean": _mean,
    "avg_pool2d": _avg_pool,
    "adaptive_avg_pool2d": _adaptive_mean,
    "max_pool2d": _max_pool,
    "relu": _relu,
    "leaky_relu": _leaky_relu,
}
"""By the name of the operator in ATen."""
