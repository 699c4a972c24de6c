"""Where pixels lie: in memory while they fit, then in a file that is mapped: one tensor either way.

A mapped file is filled once, by whoever decodes, and read by the page: the system keeps in memory
what there is room for, and nobody who uses the tensor need know. It has no name, so it is gone with
the tensor, however the run ends; its room is taken at once, so that a full disk is known at once.
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

_CHUNK = 1 << 24  # bytes that are moved at a time


class NoRoom(OSError):
    """Pixels fit neither in memory nor on the disk; the message says what to do."""


class Store:
    """Gives room for pixels.

    Args:
        limit: bytes that they may take in memory, all together; by default half of what is free,
            shared by the processes that torchrun started on this machine.

    Raises:
        ValueError: a negative limit.
    """

    def __init__(self, limit: int | None = None) -> None:
        if limit is not None and limit < 0:
            raise ValueError(f"memory was given as {limit} bytes; give 0 or more.")
        self.limit = memory.free() // (2 * _processes()) if limit is None else limit
        self.left = self.limit

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor to fill, in memory if it fits next to the earlier ones, else in a mapped file.

        Raises:
            NoRoom: the disk is full, or cannot be written.
        """
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes > self.left:
            return self._map(shape, dtype)
        self.left -= nbytes
        return torch.empty(shape, dtype=dtype)

    def drop(self, x: Tensor) -> None:
        """Take back what `empty` gave and nobody uses now."""
        if not mapped(x):
            self.left += x.nbytes

    def widened(self, x: Tensor) -> Tensor:
        """Gray images (count, 1, height, width) as RGB."""
        wide = self.empty((len(x), 3, *x.shape[2:]), x.dtype)
        for part in _chunks(wide):
            wide[part] = x[part]
        return wide

    def grown(self, x: Tensor, count: int) -> Tensor:
        """``x`` with room for ``count``; ``x`` itself is given back."""
        more = self.empty((count, *x.shape[1:]), x.dtype)
        for part in _chunks(x):
            more[part] = x[part]
        self.drop(x)
        return more

    def arranged(self, x: Tensor, order: Tensor, stay: int, own: bool) -> Tensor:
        """``x[order]``, in place where that may be, so that it takes no second room.

        Args:
            x: rows.
            order: of all of them.
            stay: the first so many of ``order`` ascend.
            own: whether ``x`` is this store's, to be overwritten.
        """
        if not own:
            copy = self.empty(tuple(x.shape), x.dtype)
            _gather(x, order, copy)
            return copy
        shape = (len(order) - stay, *x.shape[1:])
        rest = self._map(shape, x.dtype) if mapped(x) else torch.empty(shape, dtype=x.dtype)
        _gather(x, order[stay:], rest)
        _gather(x, order[:stay], x)  # a row only moves down, over those that have moved already
        for part in _chunks(rest):
            x[stay:][part] = rest[part]
        return x

    def notes(self, held: Iterable[Tensor]) -> tuple[str, ...]:
        """What a person should know of where ``held`` lie."""
        nbytes = sum(x.nbytes for x in held if mapped(x))
        if not nbytes:
            return ()
        return (
            f"{memory.readable(nbytes)} of pixels are streamed from a file in {_folder()}: they do "
            f"not fit in the {memory.readable(self.limit)} of memory that they may have.",
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
                f"The images take {memory.readable(count * dtype.itemsize)}, more than fits in the "
                f"{memory.readable(self.limit)} of memory that they may have, and {folder} could "
                f"not take them ({why}); set TMPDIR to a folder with room, or give more --memory."
            ) from error


def _nameless(folder: Path, count: int, dtype: torch.dtype) -> Tensor:
    """A tensor on a new file, which has lost its name already."""
    handle, name = tempfile.mkstemp(dir=folder, prefix="hauberk-")
    try:
        _reserve(handle, folder, count * dtype.itemsize)
        return torch.from_file(name, shared=True, size=count, dtype=dtype)
    finally:
        os.close(handle)
        Path(name).unlink()


def _reserve(handle: int, folder: Path, nbytes: int) -> None:
    """Take the room on the disk: a write to a map that the disk cannot hold kills the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, nbytes)
    elif nbytes > shutil.disk_usage(folder).free:
        raise OSError(f"only {memory.readable(shutil.disk_usage(folder).free)} are free")


def _processes() -> int:
    """How many of a run read the same data on this machine at the same time."""
    size = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, int(size)) if size.isdecimal() else 1


def _folder() -> Path:
    """``TMPDIR``, else a folder that is on a disk: /tmp is in memory on many systems."""
    given = os.environ.get("TMPDIR")
    if given:
        return Path(given)
    disk = Path("/var/tmp")
    return disk if os.access(disk, os.W_OK) else Path(tempfile.gettempdir())


def _gather(x: Tensor, order: Tensor, out: Tensor) -> None:
    for part in _chunks(out[: len(order)]):
        out[part] = x[order[part]]


def _chunks(x: Tensor) -> list[slice]:
    """Stretches of rows of some MB."""
    rows = max(1, _CHUNK // max(1, x[:1].nbytes))
    return [slice(start, min(start + rows, len(x))) for start in range(0, len(x), rows)]
