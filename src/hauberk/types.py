"""The words every room shares: what an image, a label, a weight tree and a batch are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

Images: TypeAlias = Float[Tensor, "batch *shape"]
"""Inputs in pixel units: every value in [0, 1]."""

Labels: TypeAlias = Int[Tensor, "batch"]
"""Class indices, int64."""

PerSample: TypeAlias = Float[Tensor, "batch"]
"""One number for each example of a batch."""

Scalar: TypeAlias = Float[Tensor, ""]

SampleLoss: TypeAlias = Callable[[Images], PerSample]
"""The function an attack maximises: images to one loss per example."""

Weights: TypeAlias = Mapping[str, Tensor]
"""The whole named tree of weights, always: a global budget is then no special case."""


class Factors(NamedTuple):
    """A matrix kept as ``W = U V + C``, viewed as ``shape`` (ATMC, arXiv 1902.03538, eq. 5)."""

    u: Float[Tensor, "out inner"]
    v: Float[Tensor, "inner columns"]
    c: Float[Tensor, "out columns"]
    shape: tuple[int, ...]

    def dense(self) -> Tensor:
        """``U V + C`` in float64, each row as Σ_k u_k v_k with k ascending, C last, rounded once.

        No matrix product: the order in which a library sums depends on the machine, and a file
        must be read alike by all.
        """
        left, right = (t.double().cpu().numpy() for t in (self.u, self.v))
        total = np.zeros((left.shape[0], right.shape[1]))
        for row, weights in zip(total, left, strict=True):
            for k in np.flatnonzero(weights):
                row += weights[k] * right[k]
        total += self.c.double().cpu().numpy()
        return torch.from_numpy(total).to(self.v.dtype).reshape(self.shape)


@dataclass(frozen=True)
class Recall:
    """Where the last attack on each example of a batch ended, kept from epoch to epoch.

    Attributes:
        ends: of every training example, its perturbation in radii of the threat of its time.
        index: the batch's rows of ``ends``.
        there: how the batch's images were augmented: perturbations follow.
        back: the way back.
    """

    ends: Float[Tensor, count * shape]
    index: Int[Tensor, batch]
    there: Callable[[Tensor], Tensor] = lambda delta: delta
    back: Callable[[Tensor], Tensor] = lambda delta: delta

    def start(self, x: Images, radius: float) -> Images:
        """``x``, moved as far as last time; it may be outside of the threat."""
        return x + radius * self.there(self.ends[self.index].to(x.dtype))

    def keep(self, x_adv: Images, x: Images, radius: float) -> None:
        """Note where this attack ended (half precision; at radius 0 there is nothing to note)."""
        if radius:
            self.ends[self.index] = self.back((x_adv - x) / radius).to(self.ends.dtype)


@dataclass(frozen=True)
class Batch:
    """What one optimiser step sees.

    Attributes:
        x: images in [0, 1].
        y: class indices.
        rng: every random number of this step comes from here, so that a step is a function of
            its place in the run.
        progress: how far the stage has come, in [0, 1]; schedules read it.
        recall: where earlier attacks on these examples ended, for attacks that go on from there.
    """

    x: Images
    y: Labels
    rng: torch.Generator
    progress: float = 1.0
    recall: Recall | None = None


@dataclass(frozen=True)
class Examples:
    """Labelled inputs in memory: ``x`` as uint8 (0 to 255) or as float in [0, 1]."""

    x: Num[Tensor, count * shape]
    y: Int[Tensor, count]

    def __len__(self) -> int:
        return len(self.y)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input: (channel, height, width)."""
        return tuple(self.x.shape[1:])

    def images(self, index: Tensor | slice = slice(None)) -> Images:
        """The chosen inputs in pixel units, [0, 1]."""
        x = self.x[index]
        return x.float().div_(255) if x.dtype == torch.uint8 else x

    def batches(self, size: int) -> Iterator[tuple[Images, Labels]]:
        """All examples in order, ``size`` at a time."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield self.images(part), self.y[part]

    def first(self, limit: int | None) -> Examples:
        """The first ``limit`` examples (all of them for ``None``)."""
        return Examples(self.x[:limit], self.y[:limit])

    def to(self, device: torch.device | str) -> Examples:
        """The same examples, resident on ``device``."""
        return Examples(self.x.to(device), self.y.to(device))


@dataclass(frozen=True)
class Data:
    """A data set with its three splits; the test split is never tuned on."""

    name: str
    train: Examples
    validation: Examples
    test: Examples
    classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input: (channel, height, width)."""
        return self.test.shape

    def to(self, device: torch.device | str) -> Data:
        """The same data, resident on ``device``."""
        return replace(
            self,
            train=self.train.to(device),
            validation=self.validation.to(device),
            test=self.test.to(device),
        )
