"""The words every room shares: what an image, a label, a weight tree and a batch are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from hauberk.group import ALONE, Group

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
        ends: of every training example, its perturbation in radii of the threat of its time; of
            several attacks on each, one after the other.
        index: the batch's rows of ``ends``.
        there: how the batch's images were augmented: perturbations follow.
        back: the way back.
    """

    ends: Float[Tensor, count * shape]
    index: Int[Tensor, batch]
    there: Callable[[Tensor], Tensor] = lambda delta: delta
    back: Callable[[Tensor], Tensor] = lambda delta: delta

    def split(self, searches: int) -> list[Recall]:
        """The memory of each of so many attacks."""
        return [replace(self, ends=part) for part in self.ends.chunk(searches)]

    def unknown(self) -> Bool[Tensor, batch]:
        """Which examples were not attacked yet, or not moved."""
        return ~self.ends[self.index].flatten(1).any(1)

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
        memory: what the objective carries from step to step, to be changed in place; empty where
            this is a first step and nothing is kept.
        group: the processes that share the step; these are one's own rows of their batch.
        share: of these rows among theirs, in (0, 1].
        step: which step of the stage; None where nothing is trained on the batch.
    """

    x: Images
    y: Labels
    rng: torch.Generator
    progress: float = 1.0
    recall: Recall | None = None
    memory: Mapping[str, Tensor] = field(default_factory=dict)
    group: Group = ALONE
    share: float = 1.0
    step: int | None = None


@dataclass(frozen=True)
class Examples:
    """Labelled inputs, in memory or in a mapped file; images are given out where the labels are.

    Attributes:
        x: uint8 (0 to 255), or float in [0, 1].
        y: class indices, on the device that computes.
        names: what the file will call the classes, for methods that plan its bytes.
        classes: how many of them the file will speak of, likewise; 0 is as many as there are here.
        held_out: others, of the validation split, for methods that measure between their stages.
    """

    x: Num[Tensor, count * shape]
    y: Int[Tensor, count]
    names: tuple[str, ...] = ()
    classes: int = 0
    held_out: Examples | None = None

    def __len__(self) -> int:
        return len(self.y)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input: (channel, height, width)."""
        return tuple(self.x.shape[1:])

    def images(self, index: Tensor | slice = slice(None)) -> Images:
        """The chosen inputs in pixel units, [0, 1], on the labels' device."""
        x = self.x[index if isinstance(index, slice) else index.to(self.x.device)]
        return pixel_units(x.to(self.y.device))

    def batches(self, size: int) -> Iterator[tuple[Images, Labels]]:
        """All examples in order, ``size`` at a time."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield self.images(part), self.y[part]

    def first(self, limit: int | None) -> Examples:
        """The first ``limit`` examples (all of them for ``None``)."""
        return replace(self, x=self.x[:limit], y=self.y[:limit])

    def to(self, device: torch.device | str) -> Examples:
        """The same examples, resident on ``device``."""
        return replace(self, x=self.x.to(device), y=self.y.to(device))

    def served(self, device: torch.device | str) -> Examples:
        """The same examples, whose images come to ``device`` only when they are asked for."""
        return replace(self, y=self.y.to(device))


def pixel_units(x: Tensor) -> Images:
    """uint8 (0 to 255) as float in [0, 1]; floats as they are."""
    return x.float().div_(255) if x.dtype == torch.uint8 else x


@dataclass(frozen=True)
class Data:
    """A data set with its three splits; the test split is never tuned on.

    Attributes:
        name: for sentences and reports.
        train: what is trained on.
        validation: what is watched.
        test: what is reported.
        classes: how many there are.
        labels: their names by index; nothing where the names are the indices, or are not known.
        notes: what a person should know of how the data were read, one sentence each.
    """

    name: str
    train: Examples
    validation: Examples
    test: Examples
    classes: int
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that no file could hold, before anything is trained."""
        complaint = labels_complaint(self.labels, self.classes)
        if complaint:
            raise ValueError(f"The class names of {self.name} fit no file: {complaint}")

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

    def under(self, labels: tuple[str, ...], classes: int) -> Data:
        """The same data with the class indices that a file has for the same names.

        A folder that lacks a class, or has its names from elsewhere, counts its classes otherwise
        than the one that a network was trained on. Data without names stay as they are, and so do
        those whose file has none, unless its indices are the names.

        Args:
            labels: of the file.
            classes: of the file.

        Raises:
            ValueError: a class that the file does not name.
        """
        known = labels or tuple(map(str, range(classes)))
        if not self.labels or self.labels == known:
            return self
        strange = [name for name in self.labels if name not in known]
        if strange and not labels:
            return self
        if strange:
            raise ValueError(
                f"The data {self.name} have the class {strange[0]!r}, and the file knows "
                f"{_few(labels)}; give data of the file's classes."
            )
        place = torch.tensor([known.index(name) for name in self.labels])

        def moved(part: Examples) -> Examples:
            return replace(part, y=place.to(part.y.device)[part.y])

        return replace(
            self,
            train=moved(self.train),
            validation=moved(self.validation),
            test=moved(self.test),
            classes=len(known),
            labels=labels,
        )


_MOST_LABEL = 256  # characters
_MOST_LABELS_BYTES = 1 << 18
_UNPRINTED = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, those that turn the direction of writing, and halves of characters."""


def labels_complaint(labels: Sequence[str], classes: int) -> str | None:
    """What keeps ``labels`` from being the names of ``classes``; None when nothing does."""
    if not labels:
        return None
    if not all(isinstance(name, str) for name in labels):
        return "they are not all text; give strings."
    if len(labels) != classes or len(set(labels)) != classes:
        different = len(set(labels))
        return f"there are {different:,} different ones for {classes:,} classes; give one for each."
    for name in labels:
        if not 0 < len(name) <= _MOST_LABEL or _UNPRINTED.search(name):
            return (
                f"one is {ascii(name)[:60]}; give 1 to {_MOST_LABEL} characters, none of them a "
                "control character."
            )
    taken = len(json.dumps(json.dumps(list(labels), separators=(",", ":")))) - 2
    if taken > _MOST_LABELS_BYTES:
        return f"they take {taken:,} bytes; give names that take at most {_MOST_LABELS_BYTES:,}."
    return None


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
