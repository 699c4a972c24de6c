"""Sums on their way to a layer: what an operator of the float graph adds to them.

    real value = unit · a,   a whole

An `Unrounded` value of the quantised graph is not rounded to 8 bits yet. Operators without weights
(ReLU, pooling) extend it; rounding ends it as a layer. What has no C code raises `NoCode`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hauberk.microcontroller.graph import IntegerLayer, Integers, Pool, Rescaling, Shape, Tensor8


class NoCode(ValueError):
    """An operator has no C code; the message is a clause that names it."""


@dataclass(frozen=True, eq=False)
class Unrounded:
    """Sums of the integer network, before rounding.

    Attributes:
        layer: the layer so far; its output and rescaling are not known yet.
        unit: real value of 1 in the sums of each channel.
        shape: of the value: (channel, height, width), after pooling.
        ceiling: real value at which a clip ends, if there is one.
    """

    layer: IntegerLayer
    unit: NDArray[np.float64]
    shape: Shape
    ceiling: float | None = None

    def relu(self, ceiling: float | None = None) -> Unrounded:
        """Negative values become 0.

        Args:
            ceiling: values above become this.
        """
        pool = self.layer.pool
        if pool is not None and pool.kind == "mean":
            # the mean of what a ReLU passed stays the same
            if not self.layer.relu or ceiling is not None:
                raise NoCode("a ReLU after average pooling")
            return self
        return replace(self, layer=replace(self.layer, relu=True), ceiling=ceiling)

    def pooled(self, pool: Pool, shape: Shape) -> Unrounded:
        """Windows of the sums.

        Args:
            pool: the window.
            shape: of the result.
        """
        if self.layer.pool is not None:
            raise NoCode("two pooling layers without a layer with weights between them")
        if pool.kind == "mean" and self.ceiling is not None:
            raise NoCode("average pooling of clipped values")
        return replace(self, layer=replace(self.layer, pool=pool), shape=shape)

    def rounded(self, scale: float, zero: int) -> IntegerLayer:
        """The finished layer.

        Args:
            scale: real value of one step of the output.
            zero: its zero point.
        """
        pool, relu = self.layer.pool, self.layer.relu
        padded = pool is not None and pool.kind == "mean" and pool.pad != (0, 0)
        if zero and (relu or padded):
            raise NoCode("a ReLU, or average pooling with padding, before the last output")
        steps = self.unit / scale
        start = self.layer.start + np.round(zero / steps).astype(np.int64)
        return replace(
            self.layer,
            output=Tensor8(self.shape, scale, zero),
            start=start,
            rescaling=Rescaling.of(steps / self.layer.window),
        )


@dataclass(frozen=True, eq=False)
class ChannelAffine:
    """``factor x + shift`` of an 8-bit tensor, for each channel: normalisation.

    Attributes:
        source: index of the tensor.
        tensor: the tensor.
        factor: real, (channel,).
        shift: real, (channel,).
    """

    source: int
    tensor: Tensor8
    factor: NDArray[np.float64]
    shift: NDArray[np.float64]

    def sums(self, name: str) -> Unrounded:
        """The same as a depthwise layer of one weight a channel; ``name`` is the layer's."""
        size = np.abs(self.factor) * self.tensor.scale / _AFFINE_WEIGHT
        unit = np.maximum(size, np.abs(self.shift) / _LARGEST_SHIFT)
        unit = np.where(unit > 0, unit, 1.0)
        weight = np.round(self.factor * self.tensor.scale / unit).astype(np.int64)
        start = np.round(self.shift / unit).astype(np.int64)
        shape = self.tensor.shape
        layer = unfinished(name, (self.source,), start, shape[1:])
        layer = replace(layer, weight=weight[:, None, None, None], groups=len(weight))
        return Unrounded(layer, unit, shape)


_AFFINE_WEIGHT = 64
"""Weight of a normalisation: its sums have 6 bits below a step of its input."""
_LARGEST_SHIFT = 1 << 24


def unfinished(
    name: str, inputs: tuple[int, ...], start: Integers, plane: tuple[int, int]
) -> IntegerLayer:
    """A layer whose output and rescaling are not known yet.

    Args:
        name: of the layer.
        inputs: indices of its input tensors.
        start: of the sums of each channel.
        plane: height and width of the sums of a channel.
    """
    output = Tensor8((len(start), *plane), 1.0, 0)
    return IntegerLayer(name, inputs, output, start, Rescaling.of(np.ones(len(start))), plane)
