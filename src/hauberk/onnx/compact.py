"""The weights of an ONNX graph in few bytes, by standard operators of small constants.

    t = Gather(book, codes)                                   few distinct values
    t = Reshape(ScatterElements(0, CumSum(gaps), values))     few non-zeros

Each tensor takes the form whose serialised length is least, its own floats among them. Everything
is constant, so that a runtime folds it to dense weights when it loads the file; equal to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

Array: TypeAlias = NDArray[Any]

_FEWEST = 16
"""Weights of a tensor for which another form may pay."""
_ZERO, _AXIS = "~zero", "~axis"
_GAP_BITS = (4, 8, 16)


@dataclass
class Names:
    """Short names for new values, which no value of a graph from the exporter has."""

    count: int = 0

    def fresh(self) -> str:
        """The next one."""
        self.count += 1
        return f"~{self.count}"


@dataclass
class Recipe:
    """Constants and the nodes that make one tensor of them.

    Attributes:
        part: both, as a graph of their own: its serialised length is what they take in a file.
        names: of new values.
    """

    part: GraphProto
    names: Names = field(default_factory=Names)

    def node(self, kind: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """One operator more; the name of its result."""
        from onnx import helper

        output = output or self.names.fresh()
        self.part.node.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, array: Array, name: str = "") -> str:
        """One constant more; its name."""
        from onnx import numpy_helper

        name = name or self.names.fresh()
        self.part.initializer.append(numpy_helper.from_array(array, name))
        return name

    def whole(self, numbers: Array, shape: Sequence[int], bits: int) -> str:
        """Whole numbers below ``2^bits`` (4, 8 or 16), as int32 once the graph has run."""
        from onnx import TensorProto

        if bits > 4:
            kind = np.uint8 if bits == 8 else np.uint16
            name = self.constant(numbers.astype(kind).reshape(shape))
        else:
            pairs = np.zeros(len(numbers) + len(numbers) % 2, np.uint8)
            pairs[: len(numbers)] = numbers
            raw = (pairs[::2] | pairs[1::2] << 4).tobytes()
            name = self.names.fresh()
            self.part.initializer.append(
                TensorProto(name=name, data_type=TensorProto.UINT4, dims=shape, raw_data=raw)
            )
        return self.node("Cast", [name], to=TensorProto.INT32)

    def floats(self, values: Array, output: str = "") -> str:
        """Floats, in half precision where that is exact and shorter."""
        from onnx import TensorProto

        half = _half(values)
        if half is not None and values.size >= _FEWEST:
            return self.node("Cast", [self.constant(half)], output, to=TensorProto.FLOAT)
        return self.constant(values, output)


def compact(model: ModelProto) -> None:
    """Give every float32 initializer of ``model`` its shortest form, in place."""
    from onnx import TensorProto

    graph, names = model.graph, Names()
    kept = [t for t in graph.initializer if not _may_shrink(t, TensorProto.FLOAT)]
    made = [_shortest(t, names) for t in graph.initializer if _may_shrink(t, TensorProto.FLOAT)]
    nodes = [*(node for part in made for node in part.node), *graph.node]
    tensors = [*kept, *(tensor for part in made for tensor in part.initializer)]
    tensors += _shared({name for node in nodes for name in node.input})
    graph.ClearField("node")
    graph.ClearField("initializer")
    graph.node.extend(nodes)
    graph.initializer.extend(tensors)


def _may_shrink(tensor: Any, kind: int) -> bool:
    return bool(tensor.data_type == kind and np.prod(tensor.dims, dtype=int) >= _FEWEST)


def _shared(used: set[str]) -> list[Any]:
    """The constants that all recipes share, as far as they are used."""
    from onnx import numpy_helper

    every = {_ZERO: np.float32(0), _AXIS: np.int32(0)}
    every |= {_limit(bits): np.int32((1 << bits) - 1) for bits in _GAP_BITS}
    return [numpy_helper.from_array(np.array(n), name) for name, n in every.items() if name in used]


def _limit(bits: int) -> str:
    return f"~{bits}bit"


def _shortest(tensor: Any, names: Names) -> GraphProto:
    from onnx import GraphProto, numpy_helper

    before = names.count
    best = GraphProto(initializer=[tensor])
    used = before
    for recipe in _recipes(numpy_helper.to_array(tensor), tensor.name, before):
        if recipe.part.ByteSize() < best.ByteSize():
            best, used = recipe.part, recipe.names.count
    names.count = used
    return best


def _recipes(dense: Array, name: str, count: int) -> Iterator[Recipe]:
    """Every other form of one tensor; what is stored are bit patterns, so -0 is a value."""
    from onnx import GraphProto

    flat = dense.ravel()
    bits = flat.view(np.int32)
    recipe = Recipe(GraphProto(), Names(count))
    if _half(flat) is not None:
        recipe.floats(dense, name)
        yield recipe
    places = bits.nonzero()[0]
    negative_zero = (bits == np.int32(-(1 << 31))).any()  # which 0 + (-0) would lose
    for gap_bits in _GAP_BITS if len(places) and not negative_zero else ():
        yield _sparse(flat[places], places, dense.shape, gap_bits, name, Names(count))
    coded = _coded(Recipe(GraphProto(), Names(count)), flat, dense.shape, name)
    if coded is not None:
        yield coded


def _coded(recipe: Recipe, values: Array, shape: Sequence[int], output: str) -> Recipe | None:
    """``book[codes]``; None where there are too many different values."""
    book, codes = np.unique(values.view(np.int32), return_inverse=True)
    bits = next((b for b in _GAP_BITS if len(book) <= 1 << b), None)
    if bits is None:
        return None
    index = recipe.whole(codes.ravel(), shape, bits)
    recipe.node("Gather", [recipe.floats(book.view(np.float32)), index], output)
    return recipe


def _sparse(
    values: Array, places: Array, shape: Sequence[int], bits: int, output: str, names: Names
) -> Recipe:
    """``0 + Σ values at CumSum(gaps)``: the largest gap stands for a step without a value."""
    from onnx import GraphProto

    recipe = Recipe(GraphProto(), names)
    gaps = _gaps(places, (1 << bits) - 1)
    steps = recipe.whole(gaps, gaps.shape, bits)
    where = recipe.node("CumSum", [steps, _AXIS])
    escaped = gaps == (1 << bits) - 1
    filled = np.zeros(len(gaps), np.float32)
    filled[:] = values[0]  # no code of its own for what is masked anyway
    filled[~escaped] = values
    found = recipe.names.fresh()
    if _coded(recipe, filled, gaps.shape, found) is None:
        found = recipe.floats(filled)
    if escaped.any():
        found = recipe.node("Where", [recipe.node("Less", [steps, _limit(bits)]), found, _ZERO])
    size = recipe.constant(np.array([np.prod(shape, dtype=np.int64)], np.int64))
    zeros = recipe.node("ConstantOfShape", [size])
    dims = recipe.constant(np.array(shape, np.int64))
    # escapes may land on the place of a value: they add zero to it
    flat = recipe.node("ScatterElements", [zeros, where, found], reduction="add")
    recipe.node("Reshape", [flat, dims], output)
    return recipe


def _gaps(places: Array, most: int) -> Array:
    """Steps from each place to the next; ``most`` is a step of that length to no place."""
    whole, rest = np.divmod(np.diff(places, prepend=0), most)
    gaps = np.full(len(places) + int(whole.sum()), most)
    gaps[np.cumsum(whole + 1) - 1] = rest
    return gaps


def _half(values: Array) -> Array | None:
    """The same numbers in half precision, where that is exact."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    return (
        half
        if np.array_equal(half.astype(np.float32).view(np.int32), values.view(np.int32))
        else None
    )
