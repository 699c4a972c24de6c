"""ONNX's standard operators as torch modules; rounding passes the gradient straight through.

    y = op(x, constants),   ∂ round(x) / ∂x := 1,   ∂ clamp(x) / ∂x := 1 in a quantiser

Rounding must not mask the gradient from an attack. An operator that is not in `MAKERS`, or a
setting that is not handled, raises `Unknown`.

Source: Athalye, Carlini and Wagner (2018), arXiv 1802.00420, §4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.onnx import layers
from hauberk.onnx.activations import ACTIVATIONS
from hauberk.onnx.call import Apply, Call, Unknown
from hauberk.onnx.indexing import INDEXING
from hauberk.onnx.recurrent import RECURRENT
from hauberk.ops.straight_through import through


def _step(x: Tensor, *, function: Callable[[Tensor], Tensor]) -> Tensor:
    with torch.no_grad():
        y = function(x)
    return through(x, y)


def _quantize(x: Tensor, scale: Tensor, zero: Tensor, *, low: int, high: int) -> Tensor:
    """``clamp(round(x / s) + z)`` as floats; its gradient is that of ``x / s``."""
    real = x / scale + zero
    with torch.no_grad():
        whole = (torch.round(x / scale) + zero).clamp(low, high)
    return through(real, whole)


def _dequantize(q: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    return (q - zero) * scale


def _axes(call: Call) -> tuple[int, ...]:
    """The axes of an operator: an attribute in old opsets, an input since opset 13 or 18."""
    if "axes" in call.settings:
        return tuple(int(axis) for axis in call.settings["axes"])
    return call.numbers(1) if len(call.present) > 1 and call.present[1] else ()


def _sum_of_squares(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return x.square().sum(dim, keepdim)


_REDUCED = (
    *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2"),
    *("ReduceSumSquare", "ReduceLogSumExp"),
)


def _reduce(call: Call) -> nn.Module:
    axes = _axes(call)
    if not axes:
        raise Unknown(f"{call.kind} without axes")
    function: dict[str, Callable[..., Tensor]] = {
        "ReduceMean": torch.mean,
        "ReduceSum": torch.sum,
        "ReduceMax": torch.amax,
        "ReduceMin": torch.amin,
        "ReduceL1": partial(torch.linalg.vector_norm, ord=1),
        "ReduceL2": torch.linalg.vector_norm,
        "ReduceSumSquare": _sum_of_squares,
        "ReduceLogSumExp": torch.logsumexp,
    }
    kept = bool(call.settings.get("keepdims", 1))
    return Apply(partial(function[call.kind], dim=axes, keepdim=kept), [None])


def _gather(call: Call) -> nn.Module:
    axis, index = int(call.settings.get("axis", 0)), call.constant(1)
    if call.constants[0] is not None or index.ndim > 1:
        raise Unknown("Gather in an unusual form")
    return Apply(partial(_gathered, axis=axis), [None, index])


def _gathered(x: Tensor, index: Tensor, axis: int) -> Tensor:
    found = x.index_select(axis, index.flatten() % x.shape[axis])
    return found if index.ndim else found.squeeze(axis)


def _reshape(call: Call) -> nn.Module:
    zeros = bool(call.settings.get("allowzero", 0))
    if call.constants[1] is None:
        return Apply(partial(_reshaped_to, zeros=zeros), call.constants)
    return Apply(partial(_reshaped, shape=call.numbers(1), zeros=zeros), [None])


def _reshaped(x: Tensor, shape: tuple[int, ...], zeros: bool) -> Tensor:
    return x.reshape([x.shape[i] if n == 0 and not zeros else n for i, n in enumerate(shape)])


def _reshaped_to(x: Tensor, shape: Tensor, zeros: bool) -> Tensor:
    return _reshaped(x, tuple(int(n) for n in shape), zeros)


def _flatten(call: Call) -> nn.Module:
    call.only(axis=1)
    return Apply(partial(torch.flatten, start_dim=1), [None])


def _transpose(call: Call) -> nn.Module:
    return Apply(partial(torch.permute, dims=tuple(call.settings["perm"])), [None])


def _squeeze(call: Call) -> nn.Module:
    return Apply(partial(torch.squeeze, dim=_axes(call)), [None])


def _unsqueeze(call: Call) -> nn.Module:
    axes = _axes(call)
    return Apply(partial(_widened, axes=axes), [None])


def _widened(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    for axis in sorted(axis % (x.ndim + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _concat(call: Call) -> nn.Module:
    return Apply(partial(_concatenated, axis=int(call.settings["axis"])), call.constants)


def _concatenated(*parts: Tensor, axis: int) -> Tensor:
    return torch.cat(parts, axis)


def _clip(call: Call) -> nn.Module:
    given = {"min": call.optional(1), "max": call.optional(2)}  # attributes before opset 11
    ends = {
        name: call.settings.get(name) if end is None else float(end) for name, end in given.items()
    }
    return Apply(partial(torch.clamp, **ends), [None])


def _gelu(call: Call) -> nn.Module:
    return Apply(partial(F.gelu, approximate=call.settings.get("approximate", "none")), [None])


def _leaky(call: Call) -> nn.Module:
    slope = float(call.settings.get("alpha", 0.01))
    return Apply(partial(F.leaky_relu, negative_slope=slope), [None])


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


def _softmax(call: Call) -> nn.Module:
    return Apply(partial(F.softmax, dim=int(call.settings.get("axis", -1))), [None])


def _quantizer(call: Call) -> nn.Module:
    scale, zero = _levels(call)
    ends = {torch.uint8: (0, 255), torch.int8: (-128, 127)}.get(call.constant(2).dtype)
    if ends is None:
        raise Unknown("QuantizeLinear to a type other than int8 and uint8")
    function = partial(_quantize, low=ends[0], high=ends[1])
    return Apply(function, [None, scale, zero])


def _dequantizer(call: Call) -> nn.Module:
    return Apply(_dequantize, [None, *_levels(call)])


def _levels(call: Call) -> tuple[Tensor, Tensor]:
    """Scale and zero point, as scalars."""
    scale, zero = call.constant(1), call.constant(2)
    if scale.numel() != 1 or zero.numel() != 1:
        raise Unknown(f"{call.kind} of an activation with several scales")
    return scale.reshape(()), zero.reshape(()).float()


def _dropout(call: Call) -> nn.Module:
    if call.optional(2) is not None and bool(call.constant(2)):
        raise Unknown("Dropout in training mode")
    return Apply(_same, [None])


def _plain(function: Callable[..., Tensor]) -> Callable[[Call], nn.Module]:
    return lambda call: Apply(function, call.constants)


def _stepping(function: Callable[[Tensor], Tensor]) -> Callable[[Call], nn.Module]:
    return _plain(partial(_step, function=function))


def _same(x: Tensor) -> Tensor:
    return x


MAKERS: Mapping[str, Callable[[Call], nn.Module]] = MappingProxyType(
    {
        **ACTIVATIONS,
        **INDEXING,
        **RECURRENT,
        "Conv": layers.conv,
        "Gemm": layers.gemm,
        "MatMul": layers.matmul,
        "BatchNormalization": layers.batch_norm,
        "ConvTranspose": layers.conv_transpose,
        "InstanceNormalization": layers.instance_norm,
        "GroupNormalization": layers.group_norm,
        "MaxPool": layers.pool,
        "AveragePool": layers.pool,
        "GlobalAveragePool": _plain(layers.spatial_mean),
        **dict.fromkeys(_REDUCED, _reduce),
        "Gather": _gather,
        "Reshape": _reshape,
        "Flatten": _flatten,
        "Transpose": _transpose,
        "Squeeze": _squeeze,
        "Unsqueeze": _unsqueeze,
        "Concat": _concat,
        "Clip": _clip,
        "Pad": layers.pad,
        "Resize": layers.resize,
        "DepthToSpace": layers.depth_to_space,
        "Gelu": _gelu,
        "PRelu": _plain(_prelu),
        "LeakyRelu": _leaky,
        "Softmax": _softmax,
        "QuantizeLinear": _quantizer,
        "DequantizeLinear": _dequantizer,
        "Dropout": _dropout,
        "Identity": _plain(_same),
        "Exp": _plain(torch.exp),
        "Log": _plain(torch.log),
        "Sqrt": _plain(torch.sqrt),
        "Neg": _plain(torch.neg),
        "Abs": _plain(torch.abs),
        "Reciprocal": _plain(torch.reciprocal),
        "Add": _plain(torch.add),
        "Sub": _plain(torch.sub),
        "Mul": _plain(torch.mul),
        "Div": _plain(torch.div),
        "Pow": _plain(torch.pow),
        "Round": _stepping(torch.round),
        "Floor": _stepping(torch.floor),
        "Ceil": _stepping(torch.ceil),
        "Sign": _stepping(torch.sign),
    }
)
