"""Pixel storage: tensors in memory while they fit, then in a memory-mapped file.

A mapped file is written once, by the decoder, and read by the page. The system caches as many
pages as memory allows, and code that uses the tensor need not distinguish the two. The file is
unlinked at once, so it disappears with the tensor, however the run ends. Its space is reserved at
once, so that a full disk is reported early.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from hauberk.runtime import memory
from hauberk.runtime.memory import mapped

_CHUNK = 1 << 24  # bytes per copy
_SMALL = 1 << 26  # bytes, of labels for instance, that are held in memory under any limit


class NoRoom(OSError):
    """The pixels fit neither in memory nor on disk; the message says what to do."""


class Store:
    """Allocates tensors for pixels.

    Args:
        limit: bytes of memory for all pixels together; by default half of the free memory, divided
            by the number of processes that torchrun started on this machine.

    Raises:
        ValueError: the limit is negative.
    """

    def __init__(self, limit: int | None = None) -> None:
        if limit is not None and limit < 0:
            raise ValueError(f"memory was given as {limit} bytes; give 0 or more.")
        self.limit = memory.free() // (2 * _processes()) if limit is None else limit
        self.left = self.limit

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Allocate a tensor: in memory if it fits next to the earlier ones, else in a mapped file.

        Raises:
            NoRoom: the disk is full, or cannot be written.
        """
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes > self.left:
            return self._map(shape, dtype)
        self.left -= nbytes
        return torch.empty(shape, dtype=dtype)

    @property
    def room(self) -> int:
        """Bytes that one encoded or decoded image, or one batch of them, may take on its way in."""
        return max(self.limit, _SMALL)

    def check(self, nbytes: int, what: str) -> None:
        """Check that arrays which cannot be streamed from disk fit in memory.

        Args:
            nbytes: their bytes.
            what: their name, for the error.

        Raises:
            NoRoom: they are larger than what is left; small ones always fit.
        """
        if nbytes > max(self.left, _SMALL):
            raise NoRoom(
                f"There is no room in memory for {what}, {memory.readable(nbytes)}; give more with "
                "--memory, pixels as uint8 or float32, or fewer images."
            )

    def drop(self, x: Tensor) -> None:
        """Count the memory of a tensor from `empty` as free again."""
        if not mapped(x):
            self.left += x.nbytes

    def widened(self, x: Tensor) -> Tensor:
        """Copy gray images, (count, 1, height, width), to RGB."""
        wide = self.empty((len(x), 3, *x.shape[2:]), x.dtype)
        for part in _chunks(wide):
            wide[part] = x[part]
        return wide

    def grown(self, x: Tensor, count: int) -> Tensor:
        """Copy ``x`` into a tensor with room for ``count`` rows, and drop ``x``."""
        more = self.empty((count, *x.shape[1:]), x.dtype)
        for part in _chunks(x):
            more[part] = x[part]
        self.drop(x)
        return more

    def arranged(self, x: Tensor, order: Tensor, stay: int, own: bool) -> Tensor:
        """``x[order]``, in place if ``x`` may be overwritten, which needs no second copy.

        Args:
            x: rows, (count, …).
            order: a permutation of the rows.
            stay: number of leading entries of ``order`` that ascend.
            own: whether ``x`` belongs to this store and may be overwritten.

        Raises:
            NoRoom: the disk is full, or cannot be written.
        """
        if not own:
            copy = self.empty(tuple(x.shape), x.dtype)
            _gather(x, order, copy)
            return copy
        shape = (len(order) - stay, *x.shape[1:])
        rest = self._map(shape, x.dtype) if mapped(x) else torch.empty(shape, dtype=x.dtype)
        _gather(x, order[stay:], rest)
        _gather(x, order[:stay], x)  # ascending: a row overwrites only rows that moved already
        for part in _chunks(rest):
            x[stay:][part] = rest[part]
        return x

    def notes(self, held: Iterable[Tensor]) -> tuple[str, ...]:
        """A note on the tensors of ``held`` that are streamed from disk; empty if none are."""
        nbytes = sum(x.nbytes for x in held if mapped(x))
        if not nbytes:
            return ()
        return (
            f"{memory.readable(nbytes)} of pixels are streamed from a file in {_folder()}: they "
            f"exceed the memory limit of {memory.readable(self.limit)}.",
        )

    def _map(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        count = math.prod(shape)
        if not count:
            return torch.empty(shape, dtype=dtype)
        folder = _folder()
        try:
            return _nameless(folder, count, dtype).view(shape)
        except (OSError, RuntimeError) as error:
            why = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise NoRoom(
                f"The images take {memory.readable(count * dtype.itemsize)}, more than the memory "
                f"limit of {memory.readable(self.limit)}, and could not be stored in {folder} "
                f"({why}); set TMPDIR to a folder with room, or raise --memory."
            ) from error


def _nameless(folder: Path, count: int, dtype: torch.dtype) -> Tensor:
    """A tensor on a new file that is already unlinked."""
    handle, name = tempfile.mkstemp(dir=folder, prefix="hauberk-")
    try:
        _reserve(handle, folder, count * dtype.itemsize)
        return torch.from_file(name, shared=True, size=count, dtype=dtype)
    finally:
        os.close(handle)
        Path(name).unlink()


def _reserve(handle: int, folder: Path, nbytes: int) -> None:
    """Reserve the disk space: writing to a map without space would kill the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, nbytes)
    elif nbytes > shutil.disk_usage(folder).free:
        raise OSError(f"only {memory.readable(shutil.disk_usage(folder).free)} are free")


def _processes() -> int:
    """Number of processes of the run that read the same data on this machine."""
    size = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, int(size)) if size.isdecimal() else 1


def _folder() -> Path:
    """``TMPDIR``, else a folder on a disk: /tmp is in memory on many systems."""
    given = os.environ.get("TMPDIR")
    if given:
        return Path(given)
    disk = Path("/var/tmp")
    return disk if os.access(disk, os.W_OK) else Path(tempfile.gettempdir())


def _gather(x: Tensor, order: Tensor, out: Tensor) -> None:
    for part in _chunks(out[: len(order)]):
        out[part] = x[order[part]]


def _chunks(x: Tensor) -> list[slice]:
    """Slices of rows of about ``_CHUNK`` bytes."""
    rows = max(1, _CHUNK // max(1, x[:1].nbytes))
    return [slice(start, min(start + rows, len(x))) for start in range(0, len(x), rows)]
