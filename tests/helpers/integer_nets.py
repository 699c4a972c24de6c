"""Random networks in integers, without a float network that they come from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from hauberk.artifact.format import About
from hauberk.microcontroller.code_file import CodeFile
from hauberk.microcontroller.graph import (
    LOGIT_ZERO,
    IntegerGraph,
    IntegerLayer,
    Pool,
    Rescaling,
    Tensor8,
)
from hauberk.microcontroller.reference import Reference
from hauberk.microcontroller.targets import TARGETS


class Builder:
    """Appends layers with random weights to a graph."""

    def __init__(self, shape: tuple[int, int, int], seed: int = 0, wide: bool = True) -> None:
        self.wide = wide  # a factor for each channel, not one for all layers
        self.x = torch.rand(8, *shape, generator=torch.manual_seed(seed))
        self.rng = np.random.default_rng(seed)
        self.image = Tensor8(shape, 1 / 255, 0)
        self.layers: list[IntegerLayer] = []

    def shape(self, place: int) -> tuple[int, int, int]:
        return (self.image if place == 0 else self.layers[place - 1].output).shape

    def conv(
        self,
        channels: int,
        kernel: tuple[int, int] = (3, 3),
        *,
        source: int | None = None,
        groups: int = 1,
        stride: int = 1,
        pad: tuple[int, int] = (0, 0),
        dilation: int = 1,
        density: float = 0.5,
        zero: int = 0,
        relu: bool = False,
        pool: Pool | None = None,
        values: int = 127,
    ) -> Builder:
        at = len(self.layers) if source is None else source
        c, h, w = self.shape(at)
        weight = self.rng.integers(-values, values + 1, (channels, c // groups, *kernel))
        weight[self.rng.random(weight.shape) > density] = 0
        reach = [(k - 1) * dilation + 1 for k in kernel]
        plane = (
            (h + 2 * pad[0] - reach[0]) // stride + 1,
            (w + 2 * pad[1] - reach[1]) // stride + 1,
        )
        layer = self._layer((at,), channels, plane, zero, relu, pool)
        return self._add(
            layer, weight=weight, groups=groups, stride=stride, pad=pad, dilation=dilation
        )

    def linear(self, outputs: int, density: float = 0.5, zero: int = 0) -> Builder:
        size = int(np.prod(self.shape(len(self.layers))))
        weight = self.rng.integers(-9, 10, (outputs, size, 1, 1))
        weight[self.rng.random(weight.shape) > density] = 0
        layer = self._layer((len(self.layers),), outputs, (1, 1), zero, False, None)
        return self._add(layer, weight=weight)

    def total(self, *sources: int, pool: Pool | None = None, relu: bool = False) -> Builder:
        c, h, w = self.shape(sources[0])
        layer = self._layer(sources, c, (h, w), 0, relu, pool)
        factors = tuple(self.rng.integers(1, 1 << 10, len(sources)).tolist())
        return self._add(layer, factors=factors)

    def graph(self) -> IntegerGraph:
        return IntegerGraph(self.image, tuple(self.layers))

    def _layer(self, inputs, channels, plane, zero, relu, pool) -> IntegerLayer:
        size = plane
        if pool:
            size = tuple(
                (n + 2 * p - k) // pool.stride + 1
                for n, p, k in zip(plane, pool.pad, (pool.height, pool.width), strict=True)
            )
        output = Tensor8((channels, *size), 1.0, zero)
        start = self.rng.integers(-5000, 9000, channels)
        rescaling = Rescaling.of(np.full(channels, 2.0**-9))
        return IntegerLayer("layer", inputs, output, start, rescaling, plane, relu=relu, pool=pool)

    def _add(self, layer: IntegerLayer, **settings) -> Builder:
        layer = replace(layer, **settings)
        seen = Reference(IntegerGraph(self.image, (*self.layers, layer))).real(self.x) + LOGIT_ZERO
        sums = seen.reshape(len(self.x), len(layer.start), -1).numpy()
        sums = sums / (layer.rescaling.m * 2.0**-layer.rescaling.t)[None, :, None]
        low, high = sums.min((0, 2)), sums.max((0, 2))
        wide = np.where(high > low, high - low, 1.0)
        start = layer.start - (low / layer.window).astype(np.int64)
        factors = 2.0 ** self.rng.uniform(7, 8.5, len(wide)) / wide
        if not self.wide:
            factors = np.full(len(wide), factors.min())
        self.layers.append(replace(layer, start=start, rescaling=Rescaling.of(factors)))
        return self


def file_of(graph: IntegerGraph, target: str = "host") -> CodeFile:
    about = About(None, input_shape=graph.image.shape, classes=graph.classes, dense_bytes=1000)
    return CodeFile(graph, about, TARGETS[target])
