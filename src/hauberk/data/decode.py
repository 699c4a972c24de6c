"""Encoded images as pixels, in a stream, into one uint8 tensor, by a pool of threads.

One rule for all of them: gray stays one channel, everything else becomes RGB (a palette too,
whatever its colours), transparent pixels lie on white, 16 bits of gray keep their upper 8; where
gray and RGB meet, the gray ones become RGB. A rotation in EXIF is not applied.
"""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hauberk.data.stack import Pile
from hauberk.data.store import Store

OnError: TypeAlias = Literal["stop", "skip"]
"""What to do with a corrupt image: stop with an error that names it, or skip and count it."""

_IN_FLIGHT = 1 << 25  # bytes of decoded images that may wait for those before them
_WORKERS = min(32, (os.cpu_count() or 1) + 2)  # some wait for the disk while others compute
_TASKS = 64  # at most, in which they are handed to the threads


class Source(NamedTuple):
    """An encoded image: where it is, for a person, and its bytes, or the file that has them."""

    place: str
    content: bytes | Path | None


class Decoded(NamedTuple):
    """Pixels (count, channel, height, width), which sources they are of, what was left out."""

    x: Tensor
    kept: NDArray[np.bool_]
    notes: tuple[str, ...]


def decode(
    sources: Iterable[Source], count: int, where: str, on_error: OnError, store: Store
) -> Decoded:
    """Every image that can be read.

    Args:
        sources: encoded images.
        count: of them.
        where: the data, for the sentences.
        on_error: whether a corrupt one ends it.
        store: where the pixels will lie.

    Raises:
        ValueError: a corrupt image, images of several sizes, or none at all.
        NoRoom: neither memory nor the disk can hold them.
    """
    pile, kept, faults = Pile(where, store, count), np.zeros(count, bool), []
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
    return Decoded(pile.tensor(), kept, left_out(where, faults))


def unreadable(where: str, place: str, why: str) -> str:
    """The sentence for a corrupt image."""
    return (
        f"{where} has no readable image {place} ({why}): fix it or remove it, or leave all such "
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
    """Each source with its pixels, or the reason why there are none, in their order."""
    rest = iter(sources)
    for first in islice(rest, 1):
        found = _read(first.content)
        yield first, found
        size, tasks = _plan(1 if isinstance(found, str) else found.nbytes)
        pool = ThreadPoolExecutor(_WORKERS)  # pillow's decoders release the interpreter's lock
        try:
            yield from _ahead(pool, _groups(rest, size), tasks)
        finally:
            pool.shutdown(cancel_futures=True)


def _groups(sources: Iterator[Source], size: int) -> Iterator[list[Source]]:
    while group := list(islice(sources, size)):
        yield group


def _plan(nbytes: int) -> tuple[int, int]:
    """How many images of that size are one task, and how many tasks are under way."""
    images = max(_WORKERS, min(32 * _TASKS, _IN_FLIGHT // nbytes))
    size = -(-images // _TASKS)
    return size, images // size


def _ahead(
    pool: Executor, groups: Iterator[list[Source]], tasks: int
) -> Iterator[tuple[Source, NDArray[np.uint8] | str]]:
    """The groups, decoded by the pool, some tasks ahead."""
    waiting: deque[tuple[list[Source], Future[list[NDArray[np.uint8] | str]]]] = deque()
    for group in groups:
        waiting.append((group, pool.submit(_all, group)))
        if len(waiting) >= tasks:
            sources, found = waiting.popleft()
            yield from zip(sources, found.result(), strict=True)
    for sources, found in waiting:
        yield from zip(sources, found.result(), strict=True)


def _all(sources: list[Source]) -> list[NDArray[np.uint8] | str]:
    return [_read(source.content) for source in sources]


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
