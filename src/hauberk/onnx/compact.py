"""Shrink the weights of an ONNX graph: rebuild them from small constants by standard operators.

    t = Gather(book, codes)                                   few distinct values
    t = Reshape(ScatterElements(0, CumSum(gaps), values))     few non-zeros

Each tensor takes the form with the least serialised length; its plain floats are one of the forms.
Everything is constant, so a runtime folds it to the dense weights, bit-exactly, when it loads the
file.
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
"""Smallest tensor for which other forms are tried, in weights."""
_ZERO, _AXIS = "~zero", "~axis"
GAP_BITS = (4, 8, 16)
"""Bits of a step or a code."""


@dataclass
class Names:
    """Short names for new values; the exporter never uses such names."""

    count: int = 0

    def fresh(self) -> str:
        """The next name."""
        self.count += 1
        return f"~{self.count}"


@dataclass
class Recipe:
    """Constants, and the nodes that compute one tensor from them.

    Attributes:
        part: both as a separate graph, whose serialised length is their size in the file.
        names: source of names for new values.
    """

    part: GraphProto
    names: Names = field(default_factory=Names)

    def node(self, kind: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Append an operator.

        Args:
            kind: name of the operator.
            inputs: names of its inputs.
            output: name of its result; empty for a fresh one.
            **attributes: attributes of the operator.

        Returns:
            the name of the result.
        """
        from onnx import helper

        output = output or self.names.fresh()
        self.part.node.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, array: Array, name: str = "") -> str:
        """Append a constant and return its name; an empty ``name`` means a fresh one."""
        from onnx import numpy_helper

        name = name or self.names.fresh()
        self.part.initializer.append(numpy_helper.from_array(array, name))
        return name

    def whole(self, numbers: Array, shape: Sequence[int], bits: int) -> str:
        """Append integers in few bits, cast to int32 by the graph, and return the result's name.

        Args:
            numbers: integers from 0 to ``2^bits − 1``, (count,).
            shape: shape of the result.
            bits: 4, 8 or 16.
        """
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
        """Append floats, in half precision if that is exact; return the name of the result."""
        from onnx import TensorProto

        half = half_of(values)
        if half is not None and values.size >= _FEWEST:
            return self.node("Cast", [self.constant(half)], output, to=TensorProto.FLOAT)
        return self.constant(values, output)


def compact(model: ModelProto) -> None:
    """Replace every float32 initializer of ``model`` by its shortest form, in place."""
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
    """The constants common to all recipes, if they are used."""
    from onnx import numpy_helper

    every = {_ZERO: np.float32(0), _AXIS: np.int32(0)}
    every |= {_limit(bits): np.int32((1 << bits) - 1) for bits in GAP_BITS}
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
    """The other forms of one tensor; they store bit patterns, so -0 counts as a value."""
    from onnx import GraphProto

    flat = dense.ravel()
    bits = flat.view(np.int32)
    recipe = Recipe(GraphProto(), Names(count))
    if half_of(flat) is not None:
        recipe.floats(dense, name)
        yield recipe
    places = bits.nonzero()[0]
    negative_zero = (bits == np.int32(-(1 << 31))).any()  # 0 + (-0) would lose its sign
    for gap_bits in GAP_BITS if len(places) and not negative_zero else ():
        yield _sparse(flat[places], places, dense.shape, gap_bits, name, Names(count))
    coded = _coded(Recipe(GraphProto(), Names(count)), flat, dense.shape, name)
    if coded is not None:
        yield coded


def _coded(recipe: Recipe, values: Array, shape: Sequence[int], output: str) -> Recipe | None:
    """The form ``book[codes]``; None if there are too many distinct values."""
    book, codes = np.unique(values.view(np.int32), return_inverse=True)
    bits = next((b for b in GAP_BITS if len(book) <= 1 << b), None)
    if bits is None:
        return None
    index = recipe.whole(codes.ravel(), shape, bits)
    recipe.node("Gather", [recipe.floats(book.view(np.float32)), index], output)
    return recipe


def _sparse(
    values: Array, places: Array, shape: Sequence[int], bits: int, output: str, names: Names
) -> Recipe:
    """The form ``0 + Σ values at CumSum(gaps)``; the largest gap is a step without a value."""
    from onnx import GraphProto

    recipe = Recipe(GraphProto(), names)
    gaps = gaps_of(places, (1 << bits) - 1)
    steps = recipe.whole(gaps, gaps.shape, bits)
    where = recipe.node("CumSum", [steps, _AXIS])
    escaped = gaps == (1 << bits) - 1
    filled = np.zeros(len(gaps), np.float32)
    filled[:] = values[0]  # masked entries need no code of their own
    filled[~escaped] = values
    found = recipe.names.fresh()
    if _coded(recipe, filled, gaps.shape, found) is None:
        found = recipe.floats(filled)
    if escaped.any():
        found = recipe.node("Where", [recipe.node("Less", [steps, _limit(bits)]), found, _ZERO])
    size = recipe.constant(np.array([np.prod(shape, dtype=np.int64)], np.int64))
    zeros = recipe.node("ConstantOfShape", [size])
    dims = recipe.constant(np.array(shape, np.int64))
    # an escape may land on a value; it adds zero there
    flat = recipe.node("ScatterElements", [zeros, where, found], reduction="add")
    recipe.node("Reshape", [flat, dims], output)
    return recipe


def gaps_of(places: Array, most: int) -> Array:
    """Steps from each place to the next; ``most`` is a step of that length without a value."""
    whole, rest = np.divmod(np.diff(places, prepend=0), most)
    gaps = np.full(len(places) + int(whole.sum()), most)
    gaps[np.cumsum(whole + 1) - 1] = rest
    return gaps


def half_of(values: Array) -> Array | None:
    """The values in half precision, if that is exact; else None."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    return (
        half
        if np.array_equal(half.astype(np.float32).view(np.int32), values.view(np.int32))
        else None
    )
