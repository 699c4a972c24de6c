"""From the quantised ONNX graph to the integer graph.

    QuantizeLinear of any value: the end of a layer       DequantizeLinear: its output as an input

The graph is that of `hauberk.onnx.int8`: weights, biases, scales and zero points are its integers.
An operator without C code raises `NoCode`, which names it and the layer before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hauberk.microcontroller.graph import IntegerLayer, Integers, Shape, Tensor8
from hauberk.microcontroller.sums import ChannelAffine, NoCode, Unrounded, unfinished
from hauberk.onnx.export import INPUT

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Array: TypeAlias = NDArray[Any]
Reals: TypeAlias = NDArray[np.float64]
Value: TypeAlias = int | ChannelAffine | Unrounded
"""A tensor of the integer graph by its index, or a value that is not rounded."""

_SUM_BITS = 14
"""Bits of the factors of a sum of tensors, below the larger of the two scales."""


@dataclass
class Lowering:
    """The integer graph under construction.

    Attributes:
        model: the quantised ONNX graph.
        shape: of an image.
        values: by name.
        tensors: of the integer graph.
        layers: of the integer graph.
        before: name of the last layer with weights, for errors.
    """

    model: ModelProto
    shape: Shape
    values: dict[str, Value] = field(default_factory=dict)
    tensors: list[Tensor8] = field(default_factory=list)
    layers: list[IntegerLayer] = field(default_factory=list)
    before: str = ""

    def __post_init__(self) -> None:
        self.tensors.append(Tensor8(self.shape, 1 / 255, 0))
        self.values[INPUT] = 0
        self._held = {t.name: t for t in self.model.graph.initializer}
        self._made = {n.output[0]: n for n in self.model.graph.node if n.output}

    def end(self, value: Unrounded, scale: float, zero: int) -> int:
        """Round a value.

        Args:
            value: the value.
            scale: real value of one step.
            zero: the zero point.

        Returns:
            the index of its tensor.
        """
        layer = value.rounded(scale, zero)
        self.layers.append(layer)
        self.tensors.append(layer.output)
        return len(self.tensors) - 1

    def sums(self, value: Value, name: str) -> Unrounded:
        """A value as sums; a layer that is needed for that is called ``name``."""
        if isinstance(value, ChannelAffine):
            return value.sums(name)
        return self.total((value,), name) if isinstance(value, int) else value

    def total(self, places: tuple[int, ...], name: str) -> Unrounded:
        """The sum of tensors of one shape, by a layer called ``name``."""
        scales = [self.tensors[i].scale for i in places]
        unit = max(scales) / (1 << (_SUM_BITS if len(places) > 1 else 0))
        shape = self.tensors[places[0]].shape
        layer = unfinished(name, places, np.zeros(shape[0], np.int64), shape[1:])
        factors = tuple(round(scale / unit) for scale in scales)
        return Unrounded(replace(layer, factors=factors), np.full(shape[0], unit), shape)

    def array(self, name: str) -> Array:
        """A constant of the graph."""
        from onnx import numpy_helper

        if name not in self._held:
            raise NoCode("it has an input that is no constant")
        return numpy_helper.to_array(self._held[name])

    def constant(self, name: str) -> bool:
        """Whether a name is that of a constant."""
        return name in self._held

    def weights(self, name: str) -> tuple[Integers, Reals]:
        """Whole numbers and scales of a rounded weight."""
        node = self._made.get(name)
        if node is None or node.op_type != "DequantizeLinear":
            raise NoCode("its weights are no constants")
        floats = self.array(self._made[node.input[0]].input[0])
        return floats.astype(np.int64), self.array(node.input[1]).astype(np.float64)

    def bias(self, node: NodeProto, scales: Reals) -> Reals:
        """The real bias of a layer, as its rounding left it; zeros if there is none.

        Args:
            node: the layer.
            scales: of its weights.
        """
        if len(node.input) < 3 or not node.input[2]:
            return np.zeros(len(scales))
        whole = self.array(self._made[node.input[2]].input[0]).astype(np.float64)
        source = self._made[node.input[0]]  # DequantizeLinear, with the scale of the bias
        return whole * float(self.array(source.input[1])) * scales

    def tensor(self, name: str) -> tuple[int, Tensor8]:
        """Index and description of a tensor."""
        place = self.values.get(name)
        if not isinstance(place, int):
            raise NoCode("it takes a value that is not rounded to 8 bits")
        return place, self.tensors[place]
