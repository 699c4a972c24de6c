"""How images are prepared for a network: brought to one size, and normalised.

A file records it, so that evaluation and inference repeat it.

The rule ``cover``: turn the photograph upright (EXIF), enlarge or reduce it by one factor until it
just covers height × width, with Lanczos's antialiasing filter, and crop it at its centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TypeAlias

COVER = "cover"
"""The name of the rule by which photographs are brought to one size."""
Size: TypeAlias = tuple[int, int]
"""Height and width in pixels."""
_LARGEST = 16384
"""Side of the largest image that photographs are brought to."""
_CHANNELS = 4096


@dataclass(frozen=True)
class Preparation:
    """How images were prepared for a network.

    Attributes:
        resize: `COVER` if photographs were brought to the network's input shape; empty if they were
            taken as they are.
        mean: mean of each channel that the network subtracts from images in [0, 1]; empty if it
            subtracts none.
        std: standard deviation of each channel that it then divides by.
    """

    resize: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @classmethod
    def of(cls, model: object, resize: str) -> Preparation:
        """The preparation for a network.

        Args:
            model: whose attribute ``normalization`` gives mean and standard deviation, as that of
                `hauberk.models.Normalized` does.
            resize: the rule of its data.
        """
        mean, std = getattr(model, "normalization", None) or ((), ())
        return cls(resize, tuple(mean), tuple(std))

    def complaint(self) -> str | None:
        """Why a file cannot record this, one line; None if it can."""
        if self.resize not in ("", COVER):
            return f"The images were resized by {self.resize!r}; the one rule is {COVER!r}."
        numbers = (*self.mean, *self.std)
        whole = all(type(n) is float and isfinite(n) for n in numbers)
        known = len(self.mean) == len(self.std) <= _CHANNELS and all(s > 0 for s in self.std)
        if not whole or not known:
            return (
                f"The normalisation is mean {self.mean} and std {self.std}; give a finite number "
                "for each channel for both, and positive ones for std."
            )
        return None


AS_IS = Preparation()
"""Images in [0, 1], neither resized nor normalised."""


def sides(size: int | Size | None) -> Size | None:
    """Height and width of an image size that was given: one side of a square, or both.

    Raises:
        ValueError: a side that is not a whole number from 1 to 16,384.
    """
    if size is None:
        return None
    both = (size, size) if isinstance(size, int) else tuple(size)
    if len(both) != 2 or not all(type(n) is int and 1 <= n <= _LARGEST for n in both):
        shown = " × ".join(map(str, both if isinstance(size, tuple) else (size,)))
        raise ValueError(
            f"image_size was given as {shown}; give a side, or height and width, from 1 to "
            f"{_LARGEST:,} pixels."
        )
    return both


def shown(resize: str, shape: tuple[int, ...]) -> str:
    """``brought to 48 × 64 (cover: …)``, for reports; empty if images were taken as they are."""
    if not resize:
        return ""
    size = " × ".join(map(str, shape[-2:]))
    return f"brought to {size} ({resize}: shorter side by Lanczos, then cropped at the centre)"
