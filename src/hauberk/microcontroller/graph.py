"""A network in integers: 8-bit activations and weights, 32-bit sums, rescaling by multiply-shift.

    a = start + Σ w (q − z)                      weighted layer, int32
    a = start + Σ_k f_k (q_k − z_k)              sum of tensors, int32
    v = max_window a   or   Σ_window max(a, 0)   pooling, int32
    f = min(⌊max(v, 0) m 2^(8 − t)⌋, 65535)      rescaling to 1/256 steps of the output
    q = min((f + 128) >> 8, 255)                 the output, uint8

The product is taken in 32 unsigned bits: ``v`` loses ``t − 23`` low bits first, if that is
positive. ``start`` contains the bias and the zero point of the output. The class of an image is the
first one with the largest ``f`` of the last layer, whose logits are ``q − 128``.

Source: Jacob et al. (2018), arXiv 1712.05877, §2.2; the 32-bit product is ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Integers: TypeAlias = NDArray[np.int64]
Shape: TypeAlias = tuple[int, int, int]
"""(channel, height, width)."""

LOGIT_ZERO = 128
"""Zero point of the logits."""
_LARGEST_SUM = (1 << 31) - 1
_MANTISSA = 15
_LEAST_SHIFT, _LARGEST_SHIFT = 8, 54


@dataclass(frozen=True)
class Tensor8:
    """An activation: ``real = scale (q − zero)``, q from 0 to 255.

    Attributes:
        shape: (channel, height, width).
        scale: real value of one step.
        zero: the q of 0.
    """

    shape: Shape
    scale: float
    zero: int

    @property
    def size(self) -> int:
        """Bytes of one image's activation."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Pool:
    """A window over the sums of a channel.

    Attributes:
        kind: the largest sum, or their mean.
        height: rows of a window.
        width: columns of a window.
        stride: rows and columns from one window to the next.
        pad: rows above and columns left of the first window, which count as nothing.
    """

    kind: Literal["max", "mean"]
    height: int
    width: int
    stride: int
    pad: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Rescaling:
    """Factors ``m 2^−t`` from sums to steps of the output, one for each channel.

    Attributes:
        m: from 2^15 to 2^16 − 1.
        t: from 8 to 54.
    """

    m: Integers
    t: Integers

    @classmethod
    def of(cls, factors: NDArray[np.float64]) -> Rescaling:
        """The nearest factors; one too small or too large for the format gets its end."""
        exponent = np.floor(np.log2(np.maximum(factors, 2.0**-200))).astype(np.int64)
        t = np.clip(_MANTISSA - exponent, _LEAST_SHIFT, _LARGEST_SHIFT)
        m = np.round(factors * 2.0**t).astype(np.int64)
        over = (m == 1 << (_MANTISSA + 1)) & (t > _LEAST_SHIFT)
        m, t = np.where(over, 1 << _MANTISSA, m), np.where(over, t - 1, t)
        return cls(np.clip(m, 1 << _MANTISSA, (1 << (_MANTISSA + 1)) - 1), t)


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """One step of the network: sums, pooling, rescaling.

    Attributes:
        name: name of the layer in the network, for errors and comments.
        inputs: indices of its input tensors; 0 is the image.
        output: the tensor that it makes.
        start: of the sums of each channel: bias and zero point of the output, int32.
        rescaling: from sums to the output.
        weight: (output, input / groups, height, width), −127 to 127; None for a sum of tensors.
        factors: of the inputs of a sum of tensors.
        groups: groups of channels.
        stride: rows and columns between positions.
        pad: rows above and columns left of the input, which count as zero points.
        dilation: distance of neighbouring weights.
        plane: height and width of the sums of a channel.
        relu: whether negative sums count as 0, before a mean and for gradients; where there is no
            mean, rescaling does it.
        pool: the window, if any.
    """

    name: str
    inputs: tuple[int, ...]
    output: Tensor8
    start: Integers
    rescaling: Rescaling
    plane: tuple[int, int]
    weight: Integers | None = None
    factors: tuple[int, ...] = ()
    groups: int = 1
    stride: int = 1
    pad: tuple[int, int] = (0, 0)
    dilation: int = 1
    relu: bool = False
    pool: Pool | None = None

    @property
    def window(self) -> int:
        """Number of sums that are added to one: 1 without a mean."""
        mean = self.pool is not None and self.pool.kind == "mean"
        return self.pool.height * self.pool.width if self.pool and mean else 1

    @property
    def linear(self) -> bool:
        """Whether each output takes one weight from each input value, without pooling."""
        alone = self.weight is not None and self.weight.shape[2:] == (1, 1) and self.groups == 1
        return alone and self.plane == (1, 1) and self.pool is None and self.pad == (0, 0)

    @property
    def weights(self) -> int:
        """Number of weights that are not zero."""
        return 0 if self.weight is None else int(np.count_nonzero(self.weight))


@dataclass(frozen=True, eq=False)
class IntegerGraph:
    """A classifier in integers.

    Attributes:
        image: the input, pixels of 8 bits; its zero point is 0 and its scale 1/255.
        layers: in order; layer i makes tensor i + 1, and the last one the logits.
    """

    image: Tensor8
    layers: Sequence[IntegerLayer]

    @property
    def tensors(self) -> list[Tensor8]:
        """The image, and the output of each layer."""
        return [self.image, *(layer.output for layer in self.layers)]

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.layers[-1].output.shape[0]

    def refuse_overflow(self) -> None:
        """Check that no sum can leave 32 bits, whatever the image and the order of its terms.

        Raises:
            ValueError: one can; the message names its layer.
        """
        tensors = self.tensors
        for layer in self.layers:
            reach = _reach(layer, [tensors[i] for i in layer.inputs])
            if (worst := int(reach.max())) > _LARGEST_SUM:
                raise ValueError(
                    f"The sums of the layer {layer.name} can reach {worst:,}, and 32 bits hold "
                    f"{_LARGEST_SUM:,}; give a network with smaller weights or fewer inputs there."
                )


def _reach(layer: IntegerLayer, inputs: Sequence[Tensor8]) -> Integers:
    """Upper bound on the absolute value of every partial sum of each channel."""
    spans = [max(tensor.zero, 255 - tensor.zero) for tensor in inputs]
    if layer.weight is None:
        terms = sum(abs(f) * span for f, span in zip(layer.factors, spans, strict=True))
        return (np.abs(layer.start) + terms) * layer.window
    size: Integers = np.abs(layer.weight).reshape(len(layer.weight), -1).sum(1)
    reach: Integers = (np.abs(layer.start) + size * spans[0]) * layer.window
    return reach
