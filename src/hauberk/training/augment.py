"""Augmentation on the device, for a whole batch at once.

A random crop of the image padded with zeros is a `Shift`. Each change has an inverse ``back``, by
which perturbations follow their image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from hauberk.ops.random import uniform_like
from hauberk.types import Images


@dataclass(frozen=True)
class Shift:
    """A shift of each image of a batch, by −pixels … pixels rows and columns.

    Attributes:
        moves: (batch, 2), rows and columns, each in 0 … 2 · pixels; the middle moves nothing.
        pixels: the largest move.
    """

    moves: Int[Tensor, "batch 2"]
    pixels: int

    @classmethod
    def draw(cls, x: Images, pixels: int, rng: torch.Generator) -> Shift:
        """Draw uniform shifts for the images ``x``.

        Args:
            x: (batch, channel, height, width).
            pixels: the largest shift.
            rng: source of the random numbers.
        """
        sides = uniform_like(x.new_empty(len(x), 2, dtype=torch.float32), rng) * (2 * pixels + 1)
        return cls(sides.long(), pixels)

    def __call__(self, x: Images) -> Images:
        """``x``, (batch, channel, height, width), shifted; zero where nothing was."""
        count, _, height, width = x.shape
        rows = self.moves[:, :1] + torch.arange(height, device=x.device)
        columns = self.moves[:, 1:] + torch.arange(width, device=x.device)
        padded = F.pad(x, (self.pixels,) * 4).permute(0, 2, 3, 1)
        which = torch.arange(count, device=x.device)[:, None, None]
        return padded[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    def back(self) -> Shift:
        """The inverse shift; pixels that left the image are lost."""
        return Shift(2 * self.pixels - self.moves, self.pixels)


@dataclass(frozen=True)
class Flip:
    """A horizontal mirror of half of the images of a batch.

    Attributes:
        which: (batch,), true for images that are mirrored.
    """

    which: Bool[Tensor, " batch"]

    @classmethod
    def draw(cls, x: Images, rng: torch.Generator) -> Flip:
        """Draw each of the images ``x`` with probability ½."""
        return cls(uniform_like(x.new_empty(len(x), dtype=torch.float32), rng) < 0.5)

    def __call__(self, x: Images) -> Images:
        """``x``, (batch, channel, height, width), some of them mirrored."""
        return torch.where(self.which[:, None, None, None], x.flip(3), x)

    def back(self) -> Flip:
        """The mirror is its own inverse."""
        return self


@dataclass(frozen=True)
class Cutout:
    """A black square in each image (DeVries and Taylor 2017, arXiv 1708.04552).

    Its centre is uniform over the image, so part of the square may lie outside.

    Attributes:
        keeps: (batch, 1, height, width), false in the square.
    """

    keeps: Bool[Tensor, "batch 1 height width"]

    @classmethod
    def draw(cls, x: Images, pixels: int, rng: torch.Generator) -> Cutout:
        """Draw uniform centres for the images ``x``.

        Args:
            x: (batch, channel, height, width).
            pixels: side of the square.
            rng: source of the random numbers.

        Raises:
            ValueError: the square is larger than the images.
        """
        count, _, *sides = x.shape
        if pixels > min(sides):
            size = " × ".join(map(str, sides))
            raise ValueError(
                f"cutout was given as {pixels} and the images have {size} pixels; give a square "
                "that fits."
            )
        places = uniform_like(x.new_empty(count, 2, dtype=torch.float32), rng)
        rows, columns = (
            _span(place, side, pixels) for place, side in zip(places.T, sides, strict=True)
        )
        return cls(~(rows[:, None, :, None] & columns[:, None, None, :]))

    def __call__(self, x: Images) -> Images:
        """``x``, (batch, channel, height, width), zero in the square."""
        return x * self.keeps

    def back(self) -> Cutout:
        """The cutout itself: what was in the square is lost."""
        return self


@dataclass(frozen=True)
class Chain:
    """Several changes of a batch, applied in order."""

    links: tuple[Shift | Flip | Cutout, ...]

    def __call__(self, x: Images) -> Images:
        """``x`` after all changes."""
        for link in self.links:
            x = link(x)
        return x

    def back(self) -> Chain:
        """The inverses, in reverse order."""
        return Chain(tuple(link.back() for link in reversed(self.links)))


@dataclass(frozen=True)
class Augmentation:
    """The random changes of each training image; by default none.

    Attributes:
        shift: move images by up to this many pixels in each direction, like a random crop after
            padding with black.
        flip: mirror half of the images, left to right.
        cutout: side, in pixels, of a square of each image that becomes black; 0 is none.

    Raises:
        ValueError: a negative number of pixels.
    """

    shift: int = 0
    flip: bool = False
    cutout: int = 0

    def __post_init__(self) -> None:
        for name in ("shift", "cutout"):
            pixels = getattr(self, name)
            if pixels < 0:
                raise ValueError(f"{name} was given as {pixels}; give 0 pixels or more.")

    def __bool__(self) -> bool:
        """Whether it changes anything."""
        return bool(self.shift or self.flip or self.cutout)

    def draw(self, x: Images, rng: torch.Generator) -> Chain:
        """Random changes for the images ``x``: shift, flip, cutout, in this order."""
        links: list[Shift | Flip | Cutout] = []
        if self.shift:
            links.append(Shift.draw(x, self.shift, rng))
        if self.flip:
            links.append(Flip.draw(x, rng))
        if self.cutout:
            links.append(Cutout.draw(x, self.cutout, rng))
        return Chain(tuple(links))


def _span(place: Float[Tensor, " batch"], side: int, pixels: int) -> Bool[Tensor, "batch side"]:
    """Mask of the ``pixels`` around ``place``, the centre as a fraction of the side."""
    first = (place * side).long() - pixels // 2
    at = torch.arange(side, device=place.device)
    return (at >= first[:, None]) & (at < first[:, None] + pixels)
