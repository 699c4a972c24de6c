"""The work of an untrusted ONNX graph for one image: sizes and multiplications, bounded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

Shape = tuple[int, ...]
_LARGEST_VALUE = 1 << 28
"""Limit on the elements of one value for one image: 1 GiB of float32."""
_MOST_ELEMENTS = 1 << 33
"""Limit on the elements of all values for one image."""
_MOST_WORK = 1 << 38
"""Limit on the multiplications for one image: several times those of a large transformer."""
_PRODUCTS = ("MatMul", "Gemm", "MatMulInteger", "QLinearMatMul", "Attention")
_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3, "DeformConv": 1}
"""Operators, and the place of their weights among the inputs."""
_RECURRENT = ("LSTM", "GRU", "RNN")
_OTHER = 16
"""Operations for each element that other operators read or write, at most."""


def overwork(model: ModelProto, inferred: ModelProto) -> str | None:
    """Why a graph takes too much memory or time, or an unknown amount; None if it does not.

    Args:
        model: the graph, for batches of one image.
        inferred: the same with the shapes that ONNX infers.
    """
    graph = inferred.graph
    known = {
        value.name: shape
        for value in (*graph.input, *graph.value_info, *graph.output)
        if (shape := _shape(value)) is not None
    }
    known |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    elements = work = 0
    for node in model.graph.node:
        outputs = [name for name in node.output if name]
        if not all(name in known for name in outputs):
            return f"holds the operator {node.op_type} with an output of unknown size"
        sizes = [_size(known[name]) for name in outputs]
        if min(sizes, default=0) < 0 or max(sizes, default=0) > _LARGEST_VALUE:
            return "needs too much memory"
        elements += sum(sizes)
        work += _work(node, [known.get(name) for name in node.input], known[outputs[0]], sizes)
        if elements > _MOST_ELEMENTS or work > _MOST_WORK:
            return "takes too much work for one image"
    return None


def _shape(value: ValueInfoProto) -> Shape | None:
    """The sizes of a value; None if one is unknown."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    if not all(dim.HasField("dim_value") for dim in tensor.shape.dim):
        return None
    return tuple(dim.dim_value for dim in tensor.shape.dim)


def _size(shape: Iterable[int]) -> int:
    return -1 if min(shape := tuple(shape), default=0) < 0 else math.prod(shape)


def _work(
    node: NodeProto, inputs: Sequence[Shape | None], output: Shape, sizes: Sequence[int]
) -> int:
    """An upper bound on the multiplications of a node."""
    shapes = [shape for shape in inputs if shape is not None]
    read = sum(map(_size, shapes))
    if node.op_type in _PRODUCTS:
        return sizes[0] * max((n for shape in shapes for n in shape), default=1)
    place = _CONVOLUTIONS.get(node.op_type)
    if place is not None and len(inputs) > place and (weight := inputs[place]):
        return sizes[0] * max(1, _size(weight[1:]))
    if node.op_type == "ConvTranspose" and len(shapes) > 1:
        return _size(shapes[0]) * max(1, _size(shapes[1][1:]))
    if node.op_type in _RECURRENT and shapes[0]:
        return shapes[0][0] * max(1, *shapes[0][1:2]) * read
    if node.op_type == "Einsum":
        return _einsum(node, shapes)
    kernel = next((list(a.ints) for a in node.attribute if a.name == "kernel_shape"), [])
    return sum(sizes) * max(1, _size(kernel)) + _OTHER * (read + sum(sizes))


def _einsum(node: NodeProto, shapes: Sequence[Shape]) -> int:
    """The product of the sizes of all indices of the equation; of all inputs if that is unclear."""
    equation = next(
        (a.s.decode(errors="replace") for a in node.attribute if a.name == "equation"), ""
    )
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    sizes: Mapping[str, int] = {
        letter: n
        for term, shape in zip(terms, shapes, strict=False)
        if len(term) == len(shape)
        for letter, n in zip(term, shape, strict=True)
    }
    plain = all(len(term) == len(shape) for term, shape in zip(terms, shapes, strict=False))
    return math.prod(sizes.values()) if plain else math.prod(map(_size, shapes))
