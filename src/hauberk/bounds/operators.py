"""Operators: what a layer does to boxes, and how linear bounds go backwards through it.

    affine    z = W x + b        box: W c ± |W| r          backwards: a ↦ Wᵀ a,  + ⟨a, b⟩
    relu      z = max(x, 0)      box: ends                 backwards: the lines of CROWN
    max pool  z = max x_i        box: ends                 backwards: the largest lower end

``a`` are the coefficients of a lower bound ⟨a, z⟩; where a is negative, z is replaced by an upper
line. Source of the lines: Zhang et al. (2018), arXiv 1811.00866.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from hauberk.bounds.boxes import DOUBLE, Box, gamma

Linear = Callable[..., Tensor]
"""A linear function of one or more tensors (batch, …)."""


class Operator(ABC):
    """One operation of a network."""

    @abstractmethod
    def box(self, *inputs: Box) -> Box:
        """A box that holds the outputs for all inputs in the given boxes."""

    @abstractmethod
    def pull(
        self, a: Tensor, inputs: Sequence[Box], slope: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Replace ⟨a, z⟩ by linear functions of the inputs that are nowhere larger.

        Args:
            a: coefficients of the output, (batch, spec, …).
            inputs: boxes of the inputs.
            slope: of the lower line of an unstable relu, in [0, 1], (batch, …); by default CROWN's.

        Returns:
            the coefficients of each input, and a constant, (batch, spec).
        """


@dataclass(frozen=True)
class Affine(Operator):
    """``z = Σ W_i x_i + b``.

    Attributes:
        apply: the function without b.
        absolute: the same with |W|.
        bias: b, (…); None is 0.
        terms: products in each sum, b included; 0 if nothing is rounded.
        scale: a bound on the absolute values that b is computed from; by default |b|.
    """

    apply: Linear
    absolute: Linear
    bias: Tensor | None = None
    terms: int = 0
    scale: Tensor | None = None

    def box(self, *inputs: Box) -> Box:
        """``W c + b ± (|W| r + γ (|W| |x| + |b|))``."""
        centre = self.apply(*(box.centre for box in inputs))
        if self.bias is not None:
            centre = centre + self.bias
        radius = self.absolute(*(box.radius for box in inputs))
        around = radius + self._lost(inputs)
        return Box(centre - around, centre + around)

    def pull(
        self, a: Tensor, inputs: Sequence[Box], slope: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """``a ↦ Wᵀ a`` and ``⟨a, b⟩``, less what rounding may take."""
        batch, specs = a.shape[:2]
        zeros = [a.new_zeros(batch * specs, *box.low.shape[1:]) for box in inputs]
        back: Callable[[Tensor], tuple[Tensor, ...]] = torch.func.vjp(self.apply, *zeros)[1]
        found = [part.reshape(batch, specs, *part.shape[1:]) for part in back(a.flatten(0, 1))]
        lost = self._lost(inputs)
        constant = -(a.abs() * lost[:, None]).flatten(2).sum(2)
        if self.bias is not None:
            constant = constant + (a * self.bias).flatten(2).sum(2)
        return found, constant

    def _lost(self, inputs: Sequence[Box]) -> Tensor:
        """A bound on the rounding of each output."""
        magnitude = self.absolute(*(box.magnitude for box in inputs))
        scale = self.scale if self.bias is None or self.scale is not None else self.bias.abs()
        return gamma(self.terms) * (magnitude if scale is None else magnitude + scale)


@dataclass(frozen=True)
class Relu(Operator):
    """``z = x`` where x is positive, else ``leak · x``.

    Attributes:
        leak: slope below zero, in [0, 1]; 0 is relu.
    """

    leak: float = 0.0

    def box(self, *inputs: Box) -> Box:
        """The ends: relu is monotone."""
        (x,) = inputs
        return Box(F.leaky_relu(x.low, self.leak), F.leaky_relu(x.high, self.leak))

    def pull(
        self, a: Tensor, inputs: Sequence[Box], slope: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Lines below and above each unstable relu."""
        (x,) = inputs
        width = (x.high - x.low).clamp_min(1e-300)
        unstable = (x.low < 0) & (x.high > 0)
        stable = torch.where(x.low >= 0, 1.0, self.leak).to(a.dtype)
        steep = (x.high - self.leak * x.low) / width
        above = torch.where(unstable, steep, stable)
        lift = (self.leak - above) * x.low + DOUBLE * x.magnitude
        lift = torch.where(unstable, lift, 0.0)
        free = (x.high > -x.low).to(a.dtype) if slope is None else slope
        below = torch.where(unstable, self.leak + (1 - self.leak) * free, stable)
        positive, negative = a.clamp_min(0), a.clamp_max(0)
        found = positive * below[:, None] + negative * above[:, None]
        lost = DOUBLE * found.abs() * x.magnitude[:, None]
        return [found], (negative * lift[:, None] - lost).flatten(2).sum(2)


@dataclass(frozen=True)
class MaxPool(Operator):
    """The largest of each window of two axes.

    Attributes:
        kernel: (height, width).
        stride: likewise.
        padding: likewise; padded entries never win.
        dilation: likewise.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    def box(self, *inputs: Box) -> Box:
        """The ends: a maximum is monotone."""
        (x,) = inputs
        low, high = (
            F.max_pool2d(end, self.kernel, self.stride, self.padding, self.dilation) for end in x
        )
        return Box(low, high)

    def pull(
        self, a: Tensor, inputs: Sequence[Box], slope: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Below: the entry of the largest lower end. Above: it if it always wins, or a constant."""
        (x,) = inputs
        low, high = (self._windows(end) for end in x)
        best = low.argmax(2, keepdim=True)
        others = high.scatter(2, best, -torch.inf).amax(2)
        wins = low.gather(2, best)[:, :, 0] >= others
        largest = high.amax(2)
        batch, specs = a.shape[:2]
        flat = a.flatten(3)
        negative = flat.clamp_max(0)
        constant = torch.where(wins[:, None], 0.0, negative * largest[:, None]).flatten(2).sum(2)
        moved = torch.where(wins[:, None], flat, flat.clamp_min(0))
        height, width = (n + 2 * p for n, p in zip(x.low.shape[2:], self.padding, strict=True))
        cells = torch.arange(height * width, device=a.device, dtype=a.dtype)
        places = self._unfolded(cells.view(1, 1, height, width))[0, 0].long()  # (window, output)
        to = places[:, None, None].permute(1, 2, 0, 3).expand(*best.shape[:2], -1, -1)
        target = to.gather(2, best)[:, :, 0][:, None].expand_as(moved)
        plane = a.new_zeros(batch, specs, x.low.shape[1], height * width)
        plane = plane.scatter_add(3, target, moved).reshape(*plane.shape[:3], height, width)
        top, left = self.padding
        inner = plane[..., top : height - top, left : width - left]
        lost = DOUBLE * (inner.abs() * x.magnitude[:, None]).flatten(2).sum(2)
        return [inner], constant - lost - DOUBLE * constant.abs()

    def _windows(self, x: Tensor) -> Tensor:
        """(batch, channel, entry of the window, output)."""
        rows, columns = self.padding
        return self._unfolded(F.pad(x, (columns, columns, rows, rows), value=-torch.inf))

    def _unfolded(self, x: Tensor) -> Tensor:
        found = F.unfold(x, self.kernel, dilation=self.dilation, stride=self.stride)
        return found.reshape(len(x), x.shape[1], -1, found.shape[2])
