"""Operators of the quantised ONNX graph, each as what it does to the integer graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hauberk.microcontroller.graph import LOGIT_ZERO, IntegerGraph, Pool, Shape
from hauberk.microcontroller.lower import Lowering, Reals, Value
from hauberk.microcontroller.sums import ChannelAffine, NoCode, Unrounded, unfinished
from hauberk.microcontroller.windows import Window
from hauberk.onnx.export import INPUT, OUTPUT

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Settings: TypeAlias = Mapping[str, Any]
_WEIGHTED = ("Conv", "Gemm", "MatMul", "BatchNormalization")
Operator: TypeAlias = "Callable[[Lowering, NodeProto, Settings], Value]"


def lower(model: ModelProto, shape: Shape, step: float) -> IntegerGraph:
    """The integer graph of a quantised ONNX graph.

    Args:
        model: from `hauberk.onnx.int8.quantize`.
        shape: of an image.
        step: real value of one step of the logits.

    Raises:
        NoCode: an operator or a setting that has no C code.
    """
    work = Lowering(model, shape)
    for node in model.graph.node:
        if any(name in work.values for name in node.input):
            work.values[node.output[0]] = _translated(work, node)
    work.end(work.sums(work.values[OUTPUT], "logits"), step, LOGIT_ZERO)
    return IntegerGraph(work.tensors[0], tuple(work.layers))


def refuse_operators(model: ModelProto) -> None:
    """Check that every operator of a float graph has C code.

    Raises:
        NoCode: one has none.
    """
    reached, before = {INPUT}, ""
    for node in model.graph.node:
        if not reached.intersection(node.input):
            continue
        reached.update(node.output)
        if node.op_type not in _OPERATORS:
            raise _no_code(node, before, "no target has code for it")
        before = node.input[1].removesuffix(".weight") if node.op_type in _WEIGHTED else before


def _no_code(node: NodeProto, before: str, reason: str) -> NoCode:
    where = _layer_name(node) or node.name or node.output[0]
    after = f", after the layer {before}" if before else ""
    return NoCode(f"{node.op_type} ({where}{after}): {reason}")


def _translated(work: Lowering, node: NodeProto) -> Value:
    from onnx import helper

    settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    try:
        return _OPERATORS[node.op_type](work, node, settings)
    except NoCode as reason:
        raise _no_code(node, work.before, str(reason)) from None


def _layer_name(node: NodeProto) -> str:
    """The name of the layer that a node's weight belongs to; empty if it has none."""
    weight = node.input[1] if len(node.input) > 1 else ""
    return weight.partition("~")[0].removesuffix(".weight") if "~" in weight else ""


def _quantized(work: Lowering, node: NodeProto, settings: Settings) -> Value:
    value = work.values[node.input[0]]
    if value == 0:  # pixels have 8 bits already
        return 0
    scale, zero = (work.array(name).item() for name in node.input[1:3])
    return work.end(work.sums(value, node.input[0]), float(scale), int(zero))


def _same(work: Lowering, node: NodeProto, settings: Settings) -> Value:
    return work.values[node.input[0]]


def _conv(work: Lowering, node: NodeProto, settings: Settings) -> Value:
    place, tensor = work.tensor(node.input[0])
    weight, scales = work.weights(node.input[1])
    if weight.ndim != 4:
        raise NoCode(f"its weights have {weight.ndim} axes, and 4 are supported")
    window = Window.of(settings, weight.shape[2:])
    if weight.shape[1] * int(settings.get("group", 1)) != tensor.shape[0]:
        raise NoCode("it takes a reshaped value")
    unit = tensor.scale * scales
    start = np.round(work.bias(node, scales) / unit).astype(np.int64)
    work.before = _layer_name(node)
    layer = unfinished(work.before, (place,), start, window.over(tensor.shape[1:]))
    layer = replace(
        layer,
        weight=weight,
        groups=int(settings.get("group", 1)),
        stride=window.stride,
        pad=window.pad,
        dilation=window.dilation,
    )
    return Unrounded(layer, unit, layer.output.shape)


def _linear(work: Lowering, node: NodeProto, settings: Settings) -> Value:
    place, tensor = work.tensor(node.input[0])
    weight, scales = work.weights(node.input[1])
    rows = weight if settings.get("transB") else weight.T
    if weight.ndim != 2 or rows.shape[1] != tensor.size:
        raise NoCode("it is applied to parts of its input, not to the whole of it")
    unit = tensor.scale * scales
    start = np.round(work.bias(node, scales) / unit).astype(np.int64)
    work.before = _layer_name(node)
    layer = unfinished(work.before, (place,), start, (1, 1))
    layer = replace(layer, weight=np.ascontiguousarray(rows)[:, :, None, None])
    return Unrounded(layer, unit, layer.output.shape)


def _relu(work: Lowering, node: NodeProto, settings: Settings) -> Value:
    return work.sums(work.values[node.input[0]], node.name).relu()


def _clip(work: Lowering, node: NodeProto, settings: Settings) -> Value:
    ends = [work.array(name).item() if name else None for name in node.input[1:3]]
    if len(ends) != 2 or ends[0] != 0 or ends[1] is None:
        raise NoCode("it does not begin at 0")
    return work.sums(work.values[node.input[0]], node.name).relu(float(ends[1]))


def _pool(work: Lowering, node: NodeProto, settings: Settings) -> Value:
    value = work.sums(work.values[node.input[0]], node.name)
    kernel = settings["kernel_shape"]
    if len(kernel) != 2:
        raise NoCode(f"its windows have {len(kernel)} axes, and 2 are supported")
    window = Window.of(settings, kernel)
    mean = node.op_type == "AveragePool"
    uncounted = mean and window.pad != (0, 0) and not settings.get("count_include_pad", 0)
    if window.dilation != 1 or uncounted or window.rounded_up(value.shape[1:]):
        raise NoCode("dilated windows, ceil_mode and means without their padding are not supported")
    plane = window.over(value.shape[1:])
    pool = Pool("mean" if mean else "max", *window.kernel, window.stride, window.pad)
    return value.pooled(pool, (value.shape[0], *plane))


def _global_mean(work: Lowering, node: NodeProto, settings: Settings) -> Value:
    value = work.sums(work.values[node.input[0]], node.name)
    if node.op_type == "ReduceMean":
        axes = settings.get("axes")
        named = axes if axes is not None else work.array(node.input[1]).tolist()
        if sorted(axis % 4 for axis in named) != [2, 3]:
            raise NoCode("it is no mean over the positions of each channel")
    height, width = value.shape[1:]
    pool = Pool("mean", height, width, max(height, width))
    return value.pooled(pool, (value.shape[0], 1, 1))


def _reshape(work: Lowering, node: NodeProto, settings: Settings) -> Value:
    value = work.values[node.input[0]]
    if isinstance(value, int):
        return value  # layers with weights check the shape that they take
    sums = work.sums(value, node.name)
    size = math.prod(sums.shape)
    dims = [-1, size]
    if node.op_type == "Reshape":
        dims = [int(n) for n in work.array(node.input[1]).flatten()]
    dims = [size if n == -1 and place else n for place, n in enumerate(dims)]
    if dims[1:] != [size] and tuple(dims[1:]) != sums.shape:
        raise NoCode("it does more than flatten each image")
    return sums  # the order of the values stays


def _add(work: Lowering, node: NodeProto, settings: Settings) -> Value:
    if any(map(work.constant, node.input)):
        return _affine(work, node, settings)
    places = tuple(work.tensor(name)[0] for name in node.input)
    if len({work.tensors[i].shape for i in places}) > 1:
        raise NoCode("its inputs have different shapes")
    return work.total(places, node.name)


def _affine(work: Lowering, node: NodeProto, settings: Settings) -> Value:
    """Add, subtract, multiply or divide by a constant for each channel."""
    value, other = work.values.get(node.input[0]), node.input[1]
    if value is None or not work.constant(other):
        raise NoCode("its second input is no constant")
    if isinstance(value, int):
        shape = work.tensors[value].shape
        value = ChannelAffine(value, work.tensors[value], np.ones(shape[0]), np.zeros(shape[0]))
    if not isinstance(value, ChannelAffine):
        raise NoCode("it takes a value that is not rounded to 8 bits")
    c = _channels(work, other, len(value.factor))
    changes: Mapping[str, Callable[[ChannelAffine], tuple[Reals, Reals]]] = {
        "Add": lambda v: (v.factor, v.shift + c),
        "Sub": lambda v: (v.factor, v.shift - c),
        "Mul": lambda v: (v.factor * c, v.shift * c),
        "Div": lambda v: (v.factor / c, v.shift / c),
    }
    factor, shift = changes[node.op_type](value)
    return replace(value, factor=factor, shift=shift)


def _channels(work: Lowering, name: str, count: int) -> Reals:
    """A constant as one number for each channel."""
    array = work.array(name).astype(np.float64)
    if array.size not in (1, count) or array.size != max((1, *array.shape[-3:-2])):
        raise NoCode("its constant is not one number for each channel")
    return np.broadcast_to(array.flatten(), (count,))


def _batch_norm(work: Lowering, node: NodeProto, settings: Settings) -> Value:
    place, tensor = work.tensor(node.input[0])
    scale, shift, mean, variance = (work.array(n).astype(np.float64) for n in node.input[1:5])
    factor = scale / np.sqrt(variance + settings.get("epsilon", 1e-5))
    work.before = node.input[1].removesuffix(".weight")
    return ChannelAffine(place, tensor, factor, shift - mean * factor)


_OPERATORS: Mapping[str, Operator] = MappingProxyType(
    {
        "QuantizeLinear": _quantized,
        "DequantizeLinear": _same,
        "Identity": _same,
        "Dropout": _same,
        "Conv": _conv,
        "Gemm": _linear,
        "MatMul": _linear,
        "Relu": _relu,
        "Clip": _clip,
        "MaxPool": _pool,
        "AveragePool": _pool,
        "GlobalAveragePool": _global_mean,
        "ReduceMean": _global_mean,
        "Flatten": _reshape,
        "Reshape": _reshape,
        "Squeeze": _reshape,
        "Add": _add,
        "Sub": _affine,
        "Mul": _affine,
        "Div": _affine,
        "BatchNormalization": _batch_norm,
    }
)
