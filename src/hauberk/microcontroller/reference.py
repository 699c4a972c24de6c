"""The integer network in torch: the integers of the C code, to the bit, with gradients.

    values: those of `hauberk.microcontroller.graph`;   ∂ round(x) / ∂x := 1

Integers are held in float64, which is exact below 2^53. Rounding passes the gradient straight
through, a ReLU stops it where its sum is negative. The output is the int8 logits, with half a step
more for the class that the C code returns: the largest logit then is always that class.

Source: Athalye, Carlini and Wagner (2018), arXiv 1802.00420, §4.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.microcontroller.graph import LOGIT_ZERO, IntegerGraph, IntegerLayer
from hauberk.ops.straight_through import through
from hauberk.types import Images

_LOSSLESS = 23
"""Shift from which a sum loses low bits before its product."""
_LARGEST = 65535
_HALF = 0.5


class Reference(nn.Module):
    """A classifier of images in [0, 1] by integer arithmetic; pixels are rounded to 8 bits."""

    def __init__(self, graph: IntegerGraph) -> None:
        super().__init__()
        self.graph = graph
        self.steps = nn.ModuleList(_Step(layer, graph) for layer in graph.layers)

    def forward(self, x: Images) -> Tensor:
        """Logits (batch, class): whole numbers, and half a step more for the class."""
        fine, real = self._last(x)
        logits = answer(fine)
        return through(real - LOGIT_ZERO, logits).to(x.dtype)

    @torch.no_grad()
    def real(self, x: Images) -> Tensor:
        """Logits (batch, class) in steps, neither rounded nor saturated."""
        return self._last(x)[1] - LOGIT_ZERO

    def _last(self, x: Images) -> tuple[Tensor, Tensor]:
        values = [pixels(x)]
        for step in list(self.steps)[:-1]:
            assert isinstance(step, _Step)
            values.append(step([values[i] for i in step.inputs]))
        last = self.steps[-1]
        assert isinstance(last, _Step)
        fine, real = last.rescaled([values[i] for i in last.inputs])
        return fine.flatten(1), real.flatten(1)


def pixels(x: Images) -> Tensor:
    """Images in [0, 1] as whole numbers from 0 to 255, in float64."""
    scaled = x.double() * 255
    return through(scaled, scaled.detach().round().clamp(0, 255))


def answer(fine: Tensor) -> Tensor:
    """The int8 logits with half a step more for the class, (batch, class).

    Args:
        fine: the logits in 1/256 steps, from 0.
    """
    whole = _rounded(fine) - LOGIT_ZERO
    best = F.one_hot(fine.argmax(1), fine.shape[1])
    return whole + _HALF * best


def _rounded(fine: Tensor) -> Tensor:
    return ((fine + 128) / 256).floor().clamp(max=255)


class _Step(nn.Module):
    """One layer; its input and output are whole numbers in float64."""

    weight: Tensor | None
    start: Tensor
    m: Tensor
    t: Tensor

    def __init__(self, layer: IntegerLayer, graph: IntegerGraph) -> None:
        super().__init__()
        self.layer, self.inputs = layer, layer.inputs
        self.zeros = [graph.tensors[i].zero for i in layer.inputs]
        # the linear layers of the graph take their input flat
        self.flat = layer.weight is not None and layer.linear
        self._hold("weight", None if layer.weight is None else torch.from_numpy(layer.weight))
        for name, numbers in (
            ("start", layer.start),
            ("m", layer.rescaling.m),
            ("t", layer.rescaling.t),
        ):
            self._hold(name, torch.from_numpy(numbers).reshape(1, -1, 1, 1))

    def _hold(self, name: str, tensor: Tensor | None) -> None:
        self.register_buffer(name, None if tensor is None else tensor.double(), persistent=False)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """The output tensor (batch, channel, height, width)."""
        fine, real = self.rescaled(inputs)
        return through(real, _rounded(fine))

    def rescaled(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The output in 1/256 steps, exact, and in steps, with gradients."""
        sums = self._pooled(self._sums(inputs))
        real = sums * (self.m * 2.0**-self.t)
        if self.layer.relu:
            real = real.clamp_min(0)
        with torch.no_grad():
            # torch has no shifts of float64: floor of a division by a power of two is exact
            low = torch.floor(sums.clamp_min(0) / 2.0 ** (self.t - _LOSSLESS).clamp_min(0))
            low = low.clamp_max(_LARGEST + 1)  # saturated below, whatever the factor
            product = low * self.m / 2.0 ** (self.t.clamp_max(_LOSSLESS) - 8)
            fine = torch.where(low > _LARGEST, float(_LARGEST), product.floor())
        return fine.clamp_max(_LARGEST), real

    def _sums(self, inputs: Sequence[Tensor]) -> Tensor:
        layer, shifted = self.layer, [q - z for q, z in zip(inputs, self.zeros, strict=True)]
        if self.weight is None:
            terms = [f * q for f, q in zip(layer.factors, shifted, strict=True)]
            return self.start + torch.stack(terms).sum(0)
        x = shifted[0].flatten(1)[:, :, None, None] if self.flat else shifted[0]
        rows, columns = self._padding(x)
        x = F.pad(x, (layer.pad[1], columns, layer.pad[0], rows))
        sums = F.conv2d(x, self.weight, None, layer.stride, 0, layer.dilation, layer.groups)
        return self.start + sums

    def _padding(self, x: Tensor) -> tuple[int, int]:
        """Rows below and columns right that the plane of the sums needs; negative to crop."""
        assert self.weight is not None
        ends = []
        for axis in (0, 1):
            reach = (self.weight.shape[2 + axis] - 1) * self.layer.dilation + 1
            need = (self.layer.plane[axis] - 1) * self.layer.stride + reach
            ends.append(need - x.shape[2 + axis] - self.layer.pad[axis])
        return ends[0], ends[1]

    def _pooled(self, sums: Tensor) -> Tensor:
        pool = self.layer.pool
        if pool is None:
            return sums
        height, width = self.layer.output.shape[1:]
        bottom = (height - 1) * pool.stride + pool.height - sums.shape[2] - pool.pad[0]
        right = (width - 1) * pool.stride + pool.width - sums.shape[3] - pool.pad[1]
        around = (pool.pad[1], right, pool.pad[0], bottom)
        window = (pool.height, pool.width)
        if pool.kind == "max":
            return F.max_pool2d(F.pad(sums, around, value=-torch.inf), window, pool.stride)
        if self.layer.relu:
            sums = sums.clamp_min(0)
        whole: Tensor = F.avg_pool2d(F.pad(sums, around), window, pool.stride, divisor_override=1)
        return whole
