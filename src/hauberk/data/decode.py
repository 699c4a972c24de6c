"""Image decoding: a stream of encoded images to one uint8 tensor, by a pool of threads.

Gray images keep one channel; all others become RGB, images with a palette included. Transparent
pixels are composited on white. 16-bit gray keeps its upper 8 bits. If gray and RGB images are
mixed, the gray ones become RGB. Photographs are turned upright, as their EXIF data say.

Pillow is asked for a few formats only, by content: others of its decoders start programs (EPS) or
are rarely tested.
"""

from __future__ import annotations

import io
import math
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from hauberk.data.stack import Pile
from hauberk.data.store import Store
from hauberk.preparation import Size
from hauberk.runtime.memory import readable

OnError: TypeAlias = Literal["stop", "skip"]
"""Policy for corrupt images: stop with an error that names the image, or skip and count it."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""The formats that are decoded, by pillow's names."""
_IN_FLIGHT = 1 << 25  # bytes of decoded images ahead of the consumer
_LARGE = 1 << 24  # bytes of a decoded image; larger ones are decoded one at a time
_WORKERS = min(32, (os.cpu_count() or 1) + 2)  # more than cores: some threads wait for the disk
_SURVEY = 200  # images that an error about sizes looks at
_TASKS = 64  # most tasks in flight; each decodes a group of images
_one_large = threading.Lock()


@dataclass(frozen=True)
class Reading:
    """How images are read.

    Attributes:
        on_error: policy for a corrupt image.
        size: (height, width) that images are brought to by the rule of `hauberk.preparation`;
            ``None`` leaves them as they are.
        labelled: whether each image has a label.
        rgb: whether gray images become RGB, for a network of three channels.
    """

    on_error: OnError = "stop"
    size: Size | None = None
    labelled: bool = True
    rgb: bool = False

    def pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """A pillow image as (channel, height, width), see `pixels`, at the wanted size."""
        found = pixels(image)
        if self.rgb and len(found) == 1:
            found = found.repeat(3, 0)
        if self.size is None or found.shape[1:] == self.size:
            return found
        flat = Image.fromarray(found[0] if len(found) == 1 else found.transpose(1, 2, 0))
        fitted = np.asarray(ImageOps.fit(flat, self.size[::-1], Image.Resampling.LANCZOS))
        return fitted[None] if fitted.ndim == 2 else fitted.transpose(2, 0, 1)


class Source(NamedTuple):
    """An encoded image: its place, for messages, and its bytes or the file that contains them."""

    place: str
    content: bytes | Path | None


class DecodedImages(NamedTuple):
    """Pixels, (count, channel, height, width), a mask of the sources that were kept, and notes."""

    x: Tensor
    kept: NDArray[np.bool_]
    notes: tuple[str, ...]


def decode(
    sources: Iterable[Source], count: int, where: str, reading: Reading, store: Store
) -> DecodedImages:
    """Decode every readable image.

    Args:
        sources: encoded images.
        count: number of sources.
        where: name of the data, for errors.
        reading: size of the images, and what to do with a corrupt one.
        store: allocates the pixels.

    Raises:
        ValueError: a corrupt image, images of different sizes, or no readable image.
        NoRoom: the pixels fit neither in memory nor on disk.
    """
    pile, kept, faults = Pile(where, store, count), np.zeros(count, bool), []
    found = _opened(sources, reading, store.room)
    for row, (source, image) in enumerate(found):
        if not isinstance(image, str):
            if pile.size not in (None, image.shape[1:]):
                raise ValueError(_mixed(where, pile.size, image.shape[1:], source.place, found))
            pile.add(image, source.place)
            kept[row] = True
        elif reading.on_error == "stop":
            raise ValueError(_unreadable(where, source.place, image))
        else:
            faults.append(f"{source.place} ({image})")
    if faults and not pile.count:
        raise ValueError(
            f"{where} has no readable image (the first {faults[0]}); give PNG, "
            "JPEG, WebP, BMP, GIF, TIFF or PPM."
        )
    return DecodedImages(pile.tensor(), kept, left_out(where, faults))


def _mixed(
    where: str,
    first: tuple[int, ...] | None,
    other: tuple[int, ...],
    place: str,
    rest: Iterator[tuple[Source, NDArray[np.uint8] | str]],
) -> str:
    """The error message for images of several sizes; it looks at some more for their range."""
    more = [image for _, image in islice(rest, _SURVEY)]
    sizes = {first or other, other, *(x.shape[1:] for x in more if not isinstance(x, str))}
    (low, *_, high), count = sorted(sizes, key=math.prod), len(sizes)
    between = "" if count == 2 else f" among {count} sizes seen"
    seen = f"{low[0]} × {low[1]} and {high[0]} × {high[1]} pixels{between}"
    return (
        f"{where} has images of different sizes, such as {seen} (height × width, the second "
        f"{place}): bring them to one with --image-size, such as --image-size 64 or 48x64 (in "
        "Python image_size=64)."
    )


def _unreadable(where: str, place: str, why: str) -> str:
    """The error message for a corrupt image."""
    return (
        f"{where} has an unreadable image {place} ({why}); fix or remove it, or leave out all "
        "unreadable images with --on-error skip."
    )


def left_out(where: str, faults: Sequence[str]) -> tuple[str, ...]:
    """The note that counts corrupt images."""
    if not faults:
        return ()
    if len(faults) == 1:
        return (f"{where}: 1 image could not be read and was left out, {faults[0]}.",)
    return (
        f"{where}: {len(faults)} images could not be read and were left out, the first "
        f"{faults[0]}.",
    )


def opened(source: IO[bytes] | Path) -> Image.Image:
    """A pillow image of one of the `FORMATS`, by content, not decoded yet.

    Raises:
        OSError: it is of another format, or cannot be read.
    """
    return Image.open(source, formats=FORMATS)


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Convert a pillow image to (channel, height, width), gray or RGB as the module describes.

    Raises:
        ValueError: integers above 16 bits, or floats: their white level is undefined; or an image
            file of another format than `FORMATS` and MPO, pillow's name for some JPEGs.
    """
    if image.format not in (None, "MPO", *FORMATS):
        raise ValueError(f"the format {image.format} is not supported; give {', '.join(FORMATS)}")
    return _turned(_channels(image), _orientation(image))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation of a decoded image, 1 to 8; 1 if it is upright or does not say."""
    image.load()  # pillow turns some formats upright itself, and then forgets their orientation
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF data raise many types of error, and say nothing
        return 1
    return found if found in range(1, 9) else 1


def _turned(x: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The pixels upright: (channel, height, width), mirrored and transposed as EXIF numbers it."""
    if orientation in (5, 6, 7, 8):
        x = x.swapaxes(1, 2)
    if orientation in (2, 3, 6, 7):
        x = x[:, :, ::-1]
    if orientation in (3, 4, 7, 8):
        x = x[:, ::-1]
    return np.ascontiguousarray(x)


def _channels(image: Image.Image) -> NDArray[np.uint8]:
    """The pixels as stored, (channel, height, width)."""
    deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
    if deep:
        return (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)[None]
    if image.mode in {"I", "F"}:
        raise ValueError(f"pixel mode {image.mode} is not supported; give 8 or 16 bits")
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


def _opened(
    sources: Iterable[Source], reading: Reading, room: int
) -> Iterator[tuple[Source, NDArray[np.uint8] | str]]:
    """Yield each source, in order, with its pixels or the reason why it cannot be read."""
    rest = iter(sources)
    for first in islice(rest, 1):
        found = _read(first.content, reading, room)
        yield first, found
        size, tasks = _plan(1 if isinstance(found, str) else found.nbytes)
        pool = ThreadPoolExecutor(_WORKERS)  # pillow's decoders release the interpreter's lock
        try:
            yield from _ahead(pool, _groups(rest, size), tasks, reading, room)
        finally:
            pool.shutdown(cancel_futures=True)


def _groups(sources: Iterator[Source], size: int) -> Iterator[list[Source]]:
    """The sources in groups of so many, or fewer where their encoded bytes are many."""
    group: list[Source] = []
    for source in sources:
        group.append(source)
        if len(group) == size or _encoded(group) > _IN_FLIGHT // _TASKS:
            yield group
            group = []
    if group:
        yield group


def _encoded(group: list[Source]) -> int:
    """The encoded bytes that a group holds in memory."""
    return sum(len(source.content) for source in group if isinstance(source.content, bytes))


def _plan(nbytes: int) -> tuple[int, int]:
    """Images per task and number of tasks in flight, for images of ``nbytes`` bytes."""
    images = max(_WORKERS, min(32 * _TASKS, _IN_FLIGHT // nbytes))
    size = -(-images // _TASKS)
    return size, images // size


def _ahead(
    pool: Executor, groups: Iterator[list[Source]], tasks: int, reading: Reading, room: int
) -> Iterator[tuple[Source, NDArray[np.uint8] | str]]:
    """Decode the groups in the pool, up to ``tasks`` groups ahead of the consumer."""
    waiting: deque[tuple[list[Source], Future[list[NDArray[np.uint8] | str]]]] = deque()
    held = 0
    for group in groups:
        waiting.append((group, pool.submit(_all, group, reading, room)))
        held += _encoded(group)
        while waiting and (len(waiting) >= tasks or held > _IN_FLIGHT):
            sources, found = waiting.popleft()
            held -= _encoded(sources)
            yield from zip(sources, found.result(), strict=True)
    for sources, found in waiting:
        yield from zip(sources, found.result(), strict=True)


def _all(sources: list[Source], reading: Reading, room: int) -> list[NDArray[np.uint8] | str]:
    return [_read(source.content, reading, room) for source in sources]


def _read(content: bytes | Path | None, reading: Reading, room: int) -> NDArray[np.uint8] | str:
    if content is None:
        return "the row has no bytes"
    try:
        with opened(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
            nbytes = 4 * math.prod(image.size)  # pillow holds RGB in four bytes
            if nbytes > room:
                width, height = image.size
                return f"{height} × {width} pixels take {readable(nbytes)}; give more --memory"
            with _one_large if nbytes > _LARGE else nullcontext():
                return reading.pixels(image)
    except OSError as error:
        if error.strerror and isinstance(content, Path):  # str(error) would repeat the path
            return error.strerror
        return _first_line(error)
    except Exception as error:  # decoders raise many types of error on damaged bytes
        return _first_line(error)


def _first_line(error: BaseException) -> str:
    line = (str(error).splitlines() or [type(error).__name__])[0]
    if "<_io.BytesIO" in line or "cannot identify image file" in line:
        return "it is not PNG, JPEG, WebP, BMP, GIF, TIFF or PPM"
    return line.rstrip(".")
