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
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.onnx.call import Apply, Call, Unknown
from hauberk.ops.straight_through import through

_LARGEST_PADDING = 1 << 12


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


def _pads(call: Call, axes: int) -> list[int]:
    """Padding in torch's order: last axis first, begin before end."""
    if call.settings.get("auto_pad", "NOTSET") != "NOTSET":
        raise Unknown(f"{call.kind} with auto_pad")
    pads = call.settings.get("pads", [0] * (2 * axes))
    if len(pads) != 2 * axes or not all(0 <= n <= _LARGEST_PADDING for n in pads):
        raise Unknown(f"{call.kind} with unsupported padding")
    return [n for axis in reversed(range(axes)) for n in (pads[axis], pads[axes + axis])]


def _conv(call: Call) -> nn.Module:
    weight, bias = call.constant(1), call.optional(2)
    axes, groups = weight.ndim - 2, int(call.settings.get("group", 1))
    if axes not in (1, 2, 3) or groups < 1 or len(weight) % groups:
        raise Unknown(f"Conv of {weight.ndim} axes")
    pads = _pads(call, axes)
    even = pads[::2] == pads[1::2]
    kinds: tuple[Callable[..., nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    layer = kinds[axes - 1](
        weight.shape[1] * groups,
        len(weight),
        tuple(weight.shape[2:]),
        stride=tuple(call.settings.get("strides", [1] * axes)),
        padding=tuple(pads[::-2]) if even else 0,
        dilation=tuple(call.settings.get("dilations", [1] * axes)),
        groups=groups,
        bias=bias is not None,
        device="meta",
    )
    filled = _filled(layer, weight, bias)
    return filled if even else nn.Sequential(Apply(partial(F.pad, pad=pads), [None]), filled)


def _filled(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    layer.register_parameter("weight", nn.Parameter(weight, requires_grad=False))
    given = None if bias is None else nn.Parameter(bias, requires_grad=False)
    layer.register_parameter("bias", given)
    return layer


def _gemm(call: Call) -> nn.Module:
    call.only(alpha=1.0, beta=1.0, transA=0)
    weight = call.constant(1) if call.settings.get("transB") else call.constant(1).T.contiguous()
    bias = call.optional(2)
    return _linear(weight, None if bias is None else bias.expand(len(weight)).clone())


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Module:
    if weight.ndim != 2:
        raise Unknown("Gemm or MatMul with a constant that is not a matrix")
    layer = nn.Linear(weight.shape[1], len(weight), bias is not None, device="meta")
    return _filled(layer, weight, bias)


def _matmul(call: Call) -> nn.Module:
    if call.constants[1] is not None and call.constants[0] is None:
        return _linear(call.constant(1).T.contiguous(), None)
    return Apply(torch.matmul, call.constants)


def _batch_norm(call: Call) -> nn.Module:
    call.only(training_mode=0)
    scale, bias, mean, variance = (call.constant(place) for place in range(1, 5))
    function = partial(_normalised, eps=float(call.settings.get("epsilon", 1e-5)))
    return Apply(function, [None, scale, bias, mean, variance])


def _normalised(x: Tensor, scale: Tensor, bias: Tensor, m: Tensor, v: Tensor, eps: float) -> Tensor:
    return F.batch_norm(x, m, v, scale, bias, False, 0.0, eps)


def _pool(call: Call) -> nn.Module:
    kernel = list(call.settings.get("kernel_shape", []))
    axes = len(kernel)
    pads = _pads(call, axes)
    if axes not in (1, 2, 3) or pads[::2] != pads[1::2]:
        raise Unknown(f"{call.kind} with uneven padding")
    common: dict[str, Any] = {
        "kernel_size": kernel,
        "stride": list(call.settings.get("strides", [1] * axes)),
        "padding": pads[::-2],
        "ceil_mode": bool(call.settings.get("ceil_mode", 0)),
    }
    dilation = list(call.settings.get("dilations", [1] * axes))
    if call.kind == "MaxPool":
        call.only(storage_order=0)
        largest = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[axes - 1]
        return Apply(partial(largest, dilation=dilation, **common), [None])
    call.only(dilations=[1] * axes)
    mean = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[axes - 1]
    counted = bool(call.settings.get("count_include_pad", 0))
    return Apply(partial(mean, count_include_pad=counted, **common), [None])


def _spatial_mean(x: Tensor) -> Tensor:
    return x.mean(tuple(range(2, x.ndim)), keepdim=True)


def _axes(call: Call) -> tuple[int, ...]:
    """The axes of an operator: an attribute in old opsets, an input since opset 13 or 18."""
    if "axes" in call.settings:
        return tuple(int(axis) for axis in call.settings["axes"])
    return call.numbers(1) if len(call.present) > 1 and call.present[1] else ()


def _reduce(call: Call) -> nn.Module:
    axes = _axes(call)
    if not axes:
        raise Unknown(f"{call.kind} without axes")
    function: dict[str, Callable[..., Tensor]] = {
        "ReduceMean": torch.mean,
        "ReduceSum": torch.sum,
        "ReduceMax": torch.amax,
    }
    kept = bool(call.settings.get("keepdims", 1))
    return Apply(partial(function[call.kind], dim=axes, keepdim=kept), [None])


def _shape(call: Call) -> nn.Module:
    call.only(start=0)
    if "end" in call.settings:
        raise Unknown("Shape with an end")
    return Apply(_shape_of, [None])


def _shape_of(x: Tensor) -> Tensor:
    return torch.tensor(x.shape, device=x.device)


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
    if len(axes) != 1:
        raise Unknown("Unsqueeze of several axes")
    return Apply(partial(torch.unsqueeze, dim=axes[0]), [None])


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


def _pad(call: Call) -> nn.Module:
    call.only(mode="constant")
    pads, value = call.numbers(1), call.optional(2)
    axes = len(pads) // 2
    if (len(call.present) > 3 and call.present[3]) or max(map(abs, pads)) > _LARGEST_PADDING:
        raise Unknown("Pad with unsupported padding")
    turned = [n for axis in reversed(range(axes)) for n in (pads[axis], pads[axes + axis])]
    return Apply(partial(F.pad, pad=turned, value=0.0 if value is None else float(value)), [None])


def _gelu(call: Call) -> nn.Module:
    return Apply(partial(F.gelu, approximate=call.settings.get("approximate", "none")), [None])


def _leaky(call: Call) -> nn.Module:
    slope = float(call.settings.get("alpha", 0.01))
    return Apply(partial(F.leaky_relu, negative_slope=slope), [None])


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
        "Conv": _conv,
        "Gemm": _gemm,
        "MatMul": _matmul,
        "BatchNormalization": _batch_norm,
        "MaxPool": _pool,
        "AveragePool": _pool,
        "GlobalAveragePool": _plain(_spatial_mean),
        **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax"), _reduce),
        "Shape": _shape,
        "Gather": _gather,
        "Reshape": _reshape,
        "Flatten": _flatten,
        "Transpose": _transpose,
        "Squeeze": _squeeze,
        "Unsqueeze": _unsqueeze,
        "Concat": _concat,
        "Clip": _clip,
        "Pad": _pad,
        "Gelu": _gelu,
        "LeakyRelu": _leaky,
        "Softmax": _softmax,
        "QuantizeLinear": _quantizer,
        "DequantizeLinear": _dequantizer,
        "Dropout": _dropout,
        "Identity": _plain(_same),
        "Relu": _plain(F.relu),
        "Sigmoid": _plain(torch.sigmoid),
        "Tanh": _plain(torch.tanh),
        "HardSwish": _plain(F.hardswish),
        "Erf": _plain(torch.erf),
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
