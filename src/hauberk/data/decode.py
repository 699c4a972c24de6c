"""Encoded images as pixels, in a stream, into one uint8 array; nothing is cached on disk.

One rule for all of them: gray stays one channel, everything else becomes RGB (a palette too,
whatever its colours), transparent pixels lie on white, 16 bits of gray keep their upper 8; where
gray and RGB meet, the gray ones become RGB. A rotation in EXIF is not applied.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

OnError: TypeAlias = Literal["stop", "skip"]
"""What a corrupt image does: end with a sentence that names it, or be left out and counted."""

_IN_FLIGHT = 2048  # images: a few MB of compressed ones, enough to keep the decoders busy


class Source(NamedTuple):
    """An encoded image: where it is, for a person, and its bytes, or the file that has them."""

    place: str
    content: bytes | Path | None


class Decoded(NamedTuple):
    """Pixels (count, channel, height, width), which sources they are of, what was left out."""

    x: NDArray[Any]
    kept: NDArray[np.bool_]
    notes: tuple[str, ...]


class Pile:
    """Images of one size, one after the other, as one array.

    Args:
        where: the data, for the sentences.
        room: how many will come; more may.
    """

    def __init__(self, where: str, room: int = 0) -> None:
        self.where, self.room, self.count = where, max(1, room), 0
        self._x: NDArray[Any] | None = None

    def add(self, image: NDArray[Any], place: str) -> None:
        """One more image, (channel, height, width), uint8 or float32."""
        if self._x is None:
            self._x = np.empty((self.room, *image.shape), image.dtype)
        channels = self._x.shape[1]
        if image.shape[1:] == self._x.shape[2:] and {channels, len(image)} == {1, 3}:
            if channels == 1:
                self._x = widened(self._x)
            else:
                image = image.repeat(3, 0)
        self._check(image, self._x, place)
        if self.count == len(self._x):
            self._x = np.concatenate([self._x, np.empty_like(self._x)])
        self._x[self.count] = image
        self.count += 1

    def array(self) -> NDArray[Any]:
        """All of them.

        Raises:
            ValueError: there is none.
        """
        if self._x is None:
            raise ValueError(f"{self.where} is empty: give at least one image and its label.")
        return self._x[: self.count]

    def _check(self, image: NDArray[Any], x: NDArray[Any], place: str) -> None:
        if image.shape != x.shape[1:]:
            raise ValueError(
                f"{self.where} has images of different shapes, {x.shape[1:]} and {image.shape} "
                f"{place}: give images of one shape."
            )
        if image.dtype != x.dtype:
            raise ValueError(
                f"{self.where} has pixels of type {x.dtype} and of type {image.dtype} {place}: "
                "give one type, uint8 (0 to 255) or float in [0, 1]."
            )


def widened(x: NDArray[Any]) -> NDArray[Any]:
    """Gray images (count, 1, height, width) as RGB."""
    return x.repeat(3, 1)


def decode(sources: Iterable[Source], count: int, where: str, on_error: OnError) -> Decoded:
    """Every image that can be read.

    Args:
        sources: encoded images.
        count: of them.
        where: the data, for the sentences.
        on_error: whether a corrupt one ends it.

    Raises:
        ValueError: a corrupt image, images of several sizes, or none at all.
    """
    pile, kept, faults = Pile(where, count), np.zeros(count, bool), []
    for row, (source, image) in enumerate(_opened(sources)):
        if not isinstance(image, str):
            pile.add(image, source.place)
            kept[row] = True
        elif on_error == "stop":
            raise ValueError(unreadable(where, source.place, image))
        else:
            faults.append(f"{source.place} ({image})")
    if faults and not pile.count:
        raise ValueError(f"{where} has no image that can be read, the first {faults[0]}.")
    return Decoded(pile.array(), kept, left_out(where, faults))


def unreadable(where: str, place: str, why: str) -> str:
    """The sentence for a corrupt image."""
    return (
        f"{where} has no readable image {place} ({why}): mend it or take it out, or leave all such "
        "images out with --on-error skip."
    )


def left_out(where: str, faults: Sequence[str]) -> tuple[str, ...]:
    """The note that counts corrupt images."""
    if not faults:
        return ()
    number = "1 image that" if len(faults) == 1 else f"{len(faults)} images that"
    first = "" if len(faults) == 1 else "the first "
    return (f"{where} has {number} could not be read, left out: {first}{faults[0]}.",)


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    """An image of pillow's as (channel, height, width), gray or RGB by the rule above.

    Raises:
        ValueError: more than 16 bits or fractions, which have no stated white.
    """
    deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
    if deep:
        return (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)[None]
    if image.mode in {"I", "F"}:
        raise ValueError(f"its pixels are of mode {image.mode}; give 8 or 16 bits")
    if image.has_transparency_data:
        image = _on_white(image)
    gray = image.mode in {"1", "L"}
    found = np.asarray(image.convert("L" if gray else "RGB"))
    return found[None] if gray else found.transpose(2, 0, 1)


def _on_white(image: Image.Image) -> Image.Image:
    gray = image.mode in {"1", "L", "LA", "La"}
    seen = image.convert("RGBA")
    white = Image.new("RGBA", seen.size, "white")
    return Image.alpha_composite(white, seen).convert("L" if gray else "RGB")


def _opened(sources: Iterable[Source]) -> Iterator[tuple[Source, NDArray[np.uint8] | str]]:
    """Each source with its pixels, or the reason why there are none."""
    rest = iter(sources)
    with ThreadPoolExecutor() as pool:  # the decoders of pillow release the interpreter's lock
        while some := list(islice(rest, _IN_FLIGHT)):
            yield from zip(some, pool.map(_read, (source.content for source in some)), strict=True)


def _read(content: bytes | Path | None) -> NDArray[np.uint8] | str:
    if content is None:
        return "the row holds no bytes"
    try:
        with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
            return pixels(image)
    except OSError as error:
        if error.strerror and isinstance(content, Path):  # its own text would name the file again
            return error.strerror
        return _first_line(error)
    except Exception as error:  # decoders meet damaged bytes in more ways than can be listed
        return _first_line(error)


def _first_line(error: BaseException) -> str:
    line = (str(error).splitlines() or [type(error).__name__])[0]
    if "<_io.BytesIO" in line or "cannot identify image file" in line:
        return "it is no image that pillow knows"
    return line.rstrip(".")
