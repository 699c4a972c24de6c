"""A data set: labelled examples in three splits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int, Num
from torch import Tensor

from hauberk.class_names import few, labels_complaint, numbered
from hauberk.runtime import memory
from hauberk.runtime.notes import note
from hauberk.types import Images, Labels


@dataclass(frozen=True)
class Examples:
    """Labelled inputs, in memory or in a mapped file; `images` returns them on the labels' device.

    Attributes:
        x: uint8 (0 to 255), or float in [0, 1].
        y: class indices, on the device that computes.
        names: class names as the file will store them, for methods that plan its bytes.
        classes: number of classes in the file, for the same methods; 0 if it is that of the data.
        resize: the rule of the images, see `Data`, for the same methods.
        held_out: the validation split, for methods that evaluate between their stages.
    """

    x: Num[Tensor, " count *shape"]
    y: Int[Tensor, " count"]
    names: tuple[str, ...] = ()
    classes: int = 0
    resize: str = ""
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
        """The same examples; images move to ``device`` only when `images` returns them."""
        return replace(self, y=self.y.to(device))


def pixel_units(x: Tensor) -> Images:
    """Convert uint8 (0 to 255) to float in [0, 1]; floats are unchanged."""
    return x.float().div_(255) if x.dtype == torch.uint8 else x


@dataclass(frozen=True)
class Data:
    """A data set with its three splits; the test split is never tuned on.

    Attributes:
        name: name of the data, for messages and reports.
        train: the training split.
        validation: measured after each epoch.
        test: measured in reports only.
        classes: number of classes; 0 for images without labels.
        labels: class names by index; empty if the names are the indices, or unknown.
        notes: remarks on how the data were read, one line each.
        resize: the rule of `hauberk.preparation` that brought photographs to ``shape``; empty if
            they were taken as they are.

    Raises:
        ValueError: class names that a file cannot store.
    """

    name: str
    train: Examples
    validation: Examples
    test: Examples
    classes: int
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    resize: str = ""

    def __post_init__(self) -> None:
        complaint = labels_complaint(self.labels, self.classes)
        if complaint:
            raise ValueError(f"The class names of {self.name} do not fit a file: {complaint}")

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

    def unlabelled(self) -> Data:
        """The same images without labels: no classes, and every entry of ``y`` is 0."""

        def bare(part: Examples) -> Examples:
            return replace(part, y=torch.zeros_like(part.y))

        return replace(
            self,
            train=bare(self.train),
            validation=bare(self.validation),
            test=bare(self.test),
            classes=0,
            labels=(),
        )

    def under(self, labels: tuple[str, ...], classes: int) -> Data:
        """The same data, with labels renumbered to the class indices of a file.

        A folder that lacks a class numbers its classes differently from the folder that a network
        was trained on. Where one side has no class names, its indices are the names; if the other's
        names are not whole numbers, the data do not change, and a note says so.

        Args:
            labels: class names of the file.
            classes: number of classes of the file.

        Raises:
            ValueError: the data have a class that the file lacks.
        """
        known, own = labels or numbered(classes), self.labels or numbered(self.classes)
        if not self.classes or own == known or not (labels or self.labels):
            return self
        unknown = [name for name in own if name not in known]
        words = not all(map(str.isdecimal, labels or self.labels))
        if (unknown and not labels) or (words and not (labels and self.labels)):
            note(
                f"The classes of the file are {few(known)}, and those of {self.name} are "
                f"{few(own)}; they are taken to have the same order."
            )
            return self
        if unknown:
            raise ValueError(
                f"The data {self.name} have the class {unknown[0]!r} and the file has "
                f"{few(labels)}; give data of the file's classes."
            )
        index = torch.tensor([known.index(name) for name in own])

        def renumbered(part: Examples) -> Examples:
            return replace(part, y=index.to(part.y.device)[part.y])

        return replace(
            self,
            train=renumbered(self.train),
            validation=renumbered(self.validation),
            test=renumbered(self.test),
            classes=len(known),
            labels=labels,
        )


_FREE_FRACTION = 0.5  # of a device's free memory that images may take


def settled(examples: Examples, device: torch.device, resident: bool | None = None) -> Examples:
    """Move the examples to ``device``, or only their labels if the images do not fit.

    Args:
        examples: on the CPU.
        device: the device to compute on.
        resident: whether images move there; by default they do if they fit (see `fits`).
    """
    if resident is None:
        resident = fits(examples.x, device)
    return examples.to(device) if resident else examples.served(device)


def fits(x: Tensor, device: torch.device) -> bool:
    """Whether images fit into half of the device's free memory; a mapped file stays on disk."""
    if device.type == "cpu":
        return not memory.mapped(x)
    return x.nbytes <= _FREE_FRACTION * memory.free(device)
