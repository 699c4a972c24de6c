"""Quantise an ONNX graph to eight bits: ``x ≈ s (q − z)`` around products and sums of activations.

    weights      q = round(w / s_row) in ±127, z = 0, s from `hauberk.constraints.UniformGrid`
    biases       q of 32 bits, z = 0, s = s_x s_row
    activations  q = clamp(round(x / s) + z, 0, 255), s and z from the range on calibration images,
                 extended to 0

The graph is in ONNX's QDQ form: QuantizeLinear and DequantizeLinear around float operators, which a
runtime replaces by integer ones. The weights' integers are constants that `hauberk.onnx.compact`
shrinks. The output stays float.

ONNX Runtime computes convolutions in integers if their output is rounded, too, which it is before a
sum or a norm. Instance and group norms, transposed convolutions, activations, padding and the last
layer compute in float on rounded inputs: the runtime has no integer kernel for them. A transposed
convolution therefore keeps its output in float, and its scales are those of the outputs of one
group.

Source: Jacob et al. (2018), arXiv 1712.05877.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hauberk.constraints.uniform_grid import UniformGrid
from hauberk.onnx.export import INPUT
from hauberk.onnx.replay import Replay
from hauberk.types import Images

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Range: TypeAlias = tuple[float, float]
Array: TypeAlias = NDArray[Any]

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_NORMS = ("InstanceNormalization", "GroupNormalization")
_LARGEST_BIAS = 1 << 30
_CODEBOOK = 64


def ranges(model: ModelProto, batches: Iterable[Images]) -> dict[str, Range]:
    """The range, extended to 0, of every activation that `quantize` rounds, by name.

    The range of the images is [0, 1].

    Args:
        model: a float32 graph.
        batches: calibration images, (batch, channel, height, width), in [0, 1].
    """
    wanted, replay = set(_rounded(model)), Replay(model)
    seen: dict[str, Range] = dict.fromkeys(wanted, (0.0, 0.0))

    def watch(name: str, value: Tensor) -> None:
        if name in wanted:
            low, high = (float(end) for end in torch.aminmax(value))
            seen[name] = (min(seen[name][0], low), max(seen[name][1], high))

    with torch.no_grad():
        for x in batches:
            replay(x, watch)
    return {**seen, INPUT: (0.0, 1.0)}


def quantize(model: ModelProto, seen: Mapping[str, Range], *, codebooks: bool = False) -> None:
    """Round weights, biases and activations of ``model`` to eight bits, in place.

    Args:
        model: a float32 graph, batch-norm folded.
        seen: the ranges of its activations, from `ranges`.
        codebooks: whether a weight of at most `_CODEBOOK` different values gets one scale instead
            of one for each output, so that it has no more different whole numbers than values.

    Raises:
        ValueError: no layer has constant weights.
    """
    tensors = {t.name: t for t in model.graph.initializer}
    work = _Work(tensors, codebooks)
    rounded = set(_rounded(model))
    if not any(_weighted(node, tensors) for node in model.graph.node):
        raise ValueError("The network has no layer to quantise to eight bits; export it as onnx.")
    if INPUT in rounded:
        work.activation(INPUT, seen[INPUT])
    for node in model.graph.node:
        _rewire(node, work, rounded)
        work.nodes.append(node)
        for name in rounded.intersection(node.output):
            work.activation(name, seen[name])
    nodes = work.nodes
    used = {name for node in nodes for name in node.input}
    kept = [t for name, t in tensors.items() if name in used]
    model.graph.ClearField("node")
    model.graph.ClearField("initializer")
    model.graph.node.extend(nodes)
    model.graph.initializer.extend([*kept, *work.made])


@dataclass
class _Work:
    """The graph under construction.

    Attributes:
        tensors: constants of the float32 graph, by name.
        codebooks: whether a weight of few different values gets one scale.
        nodes: nodes so far.
        made: new constants so far.
        scales: scales of the activations, by name.
        count: number of weights rounded so far.
    """

    tensors: Mapping[str, Any]
    codebooks: bool
    nodes: list[Any] = field(default_factory=list)
    made: list[Any] = field(default_factory=list)
    scales: dict[str, np.float32] = field(default_factory=dict)
    count: int = 0

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, array: Array, name: str) -> str:
        from onnx import numpy_helper

        self.made.append(numpy_helper.from_array(array, name))
        return name

    def array(self, name: str) -> Array:
        from onnx import numpy_helper

        return numpy_helper.to_array(self.tensors[name])

    def activation(self, name: str, seen: Range) -> None:
        """Append the rounding of the activation ``name``; the rounded value is ``name~``.

        Args:
            name: name of the activation.
            seen: its range.
        """
        low, high = seen
        scale = np.float32((high - low) / 255 or 1.0)
        zero = np.uint8(np.clip(np.round(-low / float(scale)), 0, 255))
        self.scales[name] = scale
        levels = [
            self.constant(np.array(scale), f"{name}~scale"),
            self.constant(np.array(zero), f"{name}~zero"),
        ]
        self.node("QuantizeLinear", [name, *levels], f"{name}~whole")
        self.node("DequantizeLinear", [f"{name}~whole", *levels], f"{name}~")

    def weight(self, name: str, least: Array, axis: int) -> tuple[str, Array]:
        """Append the rounding of a weight.

        Args:
            name: name of the weight.
            least: lower bounds of the scales, (output,).
            axis: axis of the outputs.

        Returns:
            the name of the rounded weight, and its scales (output,).
        """
        self.count += 1
        label = f"{name}~{self.count}"
        rows = torch.from_numpy(np.moveaxis(self.array(name), axis, 0).copy())
        shared = self.codebooks and len(torch.unique(rows)) <= _CODEBOOK
        scale, whole = UniformGrid(8, per_channel=not shared).fit(rows)
        safe = np.where(scale.numpy() > 0, scale.numpy(), 1.0)
        safe = np.broadcast_to(safe, len(rows))
        scales = np.maximum(safe, least).astype(np.float32)
        if (safe < least).any():
            shaped = torch.from_numpy(scales).reshape(-1, *[1] * (rows.ndim - 1))
            whole = (rows / shaped).round().clamp(-127, 127)
        numbers = np.moveaxis(whole.float().numpy(), 0, axis)
        floats = self.constant(np.ascontiguousarray(numbers), f"{label}floats")
        whole_name = self.node("Cast", [floats], f"{label}whole", to=3)  # int8
        inputs = [
            whole_name,
            self.constant(scales, f"{label}scales"),
            # ONNX Runtime uses integer matrix products only if the zero points are explicit
            self.constant(np.zeros(len(scales), np.int8), f"{label}zeros"),
        ]
        return self.node("DequantizeLinear", inputs, label, axis=axis), scales

    def bias(self, name: str, x: str, weight: str, scales: Array, groups: int) -> str:
        """Append the rounding of a bias to 32 bits, and return the new name.

        Args:
            name: name of the bias.
            x: name of the layer's input, whose scale is a factor of the bias's scale.
            weight: name of the rounded weight.
            scales: scales of the weight, (output / groups,), the other factor.
            groups: number of groups that share the scales.
        """
        label = f"{name}~{self.count}"
        both = np.tile(self.scales[x] * scales, groups)
        values = np.broadcast_to(self.array(name).astype(np.float64), both.shape)
        whole = self.constant(np.round(values / both).astype(np.int32), f"{label}whole")
        levels = self.node("Mul", [f"{x}~scale", f"{weight}scales"], f"{label}scales")
        if groups > 1:
            levels = self.node("Concat", [levels] * groups, f"{label}tiled", axis=0)
        return self.node("DequantizeLinear", [whole, levels], label, axis=0)


def _rewire(node: NodeProto, work: _Work, rounded: set[str]) -> None:
    """Replace the float inputs of a node by rounded ones."""
    if _weighted(node, work.tensors):
        scale = work.scales[node.input[0]]
        axis = 0 if node.op_type == "Conv" or _transposed(node) else 1
        # the groups of a transposed convolution lie along its input axis and share the scales
        groups = _groups(node) if node.op_type == "ConvTranspose" else 1
        biased = len(node.input) > 2 and bool(node.input[2])
        size = work.tensors[node.input[1]].dims[axis]
        bias = np.abs(work.array(node.input[2])) if biased else np.zeros(size, np.float32)
        if groups > 1:
            bias = bias.reshape(-1, size).max(0)
        least = bias.astype(np.float64) / (float(scale) * _LARGEST_BIAS)
        node.input[1], scales = work.weight(node.input[1], least, axis)
        if biased:
            node.input[2] = work.bias(node.input[2], node.input[0], node.input[1], scales, groups)
    if _weighted(node, work.tensors, done=True) or _takes(node, work.tensors):
        for place, name in enumerate(node.input):
            if name in rounded:
                node.input[place] = f"{name}~"


def _transposed(node: NodeProto) -> bool:
    return any(a.name == "transB" and a.i for a in node.attribute)


def _groups(node: NodeProto) -> int:
    return next((int(a.i) for a in node.attribute if a.name == "group"), 1)


def _weighted(node: NodeProto, tensors: Mapping[str, Any], done: bool = False) -> bool:
    """Whether a node multiplies an activation by constants.

    Args:
        node: the node.
        tensors: the constants of the float32 graph.
        done: also accept constants that are already rounded.
    """
    if node.op_type not in _WEIGHTED or node.input[0] in tensors:
        return False
    given = [name for name in node.input[1:] if name]
    return all(name in tensors or (done and "~" in name) for name in given)


def _takes(node: NodeProto, tensors: Mapping[str, Any]) -> list[str]:
    """The 8-bit inputs of a node without a matrix product."""
    if node.op_type == "Add" and not any(name in tensors for name in node.input):
        return list(node.input)
    # the output of a product is rounded only if the next node takes 8-bit inputs
    return [node.input[0]] if node.op_type in ("BatchNormalization", *_NORMS) else []


def _rounded(model: ModelProto) -> Iterator[str]:
    """The activations to round: the inputs of products, sums and norms."""
    tensors = {t.name: t for t in model.graph.initializer}
    convolved = {n for node in model.graph.node if node.op_type == "Conv" for n in node.output}
    for node in model.graph.node:
        if _weighted(node, tensors):
            yield node.input[0]
        elif node.op_type not in _NORMS or node.input[0] in convolved:
            # only a convolution computes in integers, and only if its output is rounded
            yield from _takes(node, tensors)
