"""Loader for NumPy archives: x and y, or x_train, y_train, x_test and y_test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile
from zlib import error as ZlibError

import numpy as np
import torch
from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray
from torch import Tensor

from hauberk.data.holdout import TEST, TRAIN, lone
from hauberk.data.splits import Part, assemble
from hauberk.data.store import NoRoom, Store
from hauberk.dataset import Data
from hauberk.runtime import files

_KINDS = {np.dtype(np.uint8): torch.uint8, np.dtype(np.float32): torch.float32}
_PIECE = 1 << 24  # bytes per read
_MOST_DEFLATED = 1032
"""Bytes that a byte of deflate can unpack to, at most."""
_MOST_ROWS = 1 << 48
_ONE = ("x", "y")
_PAIR = ("x_train", "y_train", "x_test", "y_test")


def load_npz(path: Path, *, seed: int, store: Store, labelled: bool = True) -> Data:
    """Load an archive; nothing in it is unpickled.

    Args:
        path: the ``.npz`` file.
        seed: moves the border between train and validation.
        store: allocates the pixels.
        labelled: whether there are labels; without them x, or x_train and x_test, suffice.

    Raises:
        ValueError: a damaged archive, missing arrays, or invalid pixels or labels.
        NoRoom: the pixels fit neither in memory nor on disk.
    """
    where = f"The file {str(path)!r}"
    one, pair = (
        {name for name in names if labelled or name.startswith("x")} for names in (_ONE, _PAIR)
    )
    arrays = _arrays(path, where, store, (one, pair))
    if pair <= set(arrays):
        parts = {
            TRAIN: _part(arrays, "_train", where),
            TEST: _part(arrays, "_test", where),
        }
    else:
        parts = {lone(path.stem): _part(arrays, "", where)}
    return assemble(path.stem, parts, seed, store, labelled)


def _part(arrays: Mapping[str, NDArray[Any] | Tensor], ending: str, where: str) -> Part:
    x = arrays[f"x{ending}"]
    if x.ndim == 0:
        raise ValueError(
            f"{where} has a single number as x{ending}: give one image for each label."
        )
    return Part(x, np.asarray(arrays.get(f"y{ending}", np.zeros(len(x), np.int64))), where)


def _arrays(
    path: Path, where: str, store: Store, choices: tuple[set[str], ...]
) -> dict[str, NDArray[Any] | Tensor]:
    """Read the arrays of one of the choices of names at least, pixels into the store."""
    wanted = {name for names in choices for name in names}
    try:
        with files.regular(path, "a .npz file") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, NpzFile):
                raise ValueError("it is a single array")
            with archive:
                found = sorted(wanted & set(archive.files))
                arrays = {name: _array(archive, name, store) for name in found}
    except NoRoom:
        raise
    # damaged archives raise any of these; a false shape raises MemoryError
    except (ValueError, OSError, EOFError, KeyError, BadZipFile, ZlibError, MemoryError) as error:
        raise ValueError(
            f"{where} is not a readable .npz of plain arrays ({_first_line(error)}): "
            "write it with numpy.savez(path, x=images, y=labels)."
        ) from error
    except (NotImplementedError, SyntaxError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"{where} is damaged or in an unsupported form ({_first_line(error)}): "
            "write it with numpy.savez(path, x=images, y=labels)."
        ) from error
    if not any(names <= set(arrays) for names in choices):
        one, pair = (sorted(names, key=[*_ONE, *_PAIR].index) for names in choices)
        raise ValueError(
            f"{where} has no arrays {' and '.join(one)} (nor {', '.join(pair)}): "
            "write it with numpy.savez(path, x=images, y=labels)."
        )
    return arrays


def _array(archive: NpzFile, name: str, store: Store) -> NDArray[Any] | Tensor:
    """Read uint8 or float32 pixels piece by piece into the store; other arrays into memory.

    The size that the header states is compared with the size of the member, packed and unpacked,
    before anything is allocated.
    """
    members, file = archive.zip, f"{name}.npy"
    if members is None or file not in members.namelist():
        raise ValueError(f"{name} is no array")
    info = members.getinfo(file)
    if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ValueError(f"{name} is compressed by another method than deflate")
    with members.open(file) as member:
        head = _header(member, name)
        unpacked = member.tell() + head.nbytes
        if info.file_size != unpacked or unpacked > _MOST_DEFLATED * (info.compress_size + 1):
            raise ValueError(f"the length of {name} does not match its shape")
        if name.startswith("x") and head.kind in _KINDS and not head.columns:
            x = store.empty(head.shape, _KINDS[head.kind])
            _fill(x.view(-1).view(torch.uint8).numpy(), member, name)
            return x
        store.check(max(head.nbytes, 8 * head.entries), f"the array {name}")
        flat = np.empty(head.entries, head.kind)
        _fill(flat.view(np.uint8), member, name)
    return flat.reshape(head.shape, order="F" if head.columns else "C")


def _fill(content: NDArray[np.uint8], member: IO[bytes], name: str) -> None:
    for start in range(0, len(content), _PIECE):
        piece = content[start : start + _PIECE]
        found = member.read(len(piece))
        if len(found) < len(piece):
            raise ValueError(f"{name} is truncated")
        piece[:] = np.frombuffer(found, np.uint8)


class _Header(NamedTuple):
    shape: tuple[int, ...]
    columns: bool
    kind: np.dtype[Any]

    @property
    def entries(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.entries * self.kind.itemsize


def _header(member: IO[bytes], name: str) -> _Header:
    """Shape, order and type of an array.

    Raises:
        ValueError: an array of objects, or of nothing.
    """
    readers = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}
    read = readers.get(read_magic(member))
    if read is None:
        raise ValueError(f"{name} has fields")
    head = _Header(*read(member))
    if head.kind.hasobject:
        raise ValueError(f"{name} holds Python objects, which are not unpickled")
    if head.kind.fields or head.kind.subdtype or not head.kind.itemsize:
        raise ValueError(f"{name} is of type {head.kind}")
    if not all(0 <= n < _MOST_ROWS for n in head.shape):
        raise ValueError(f"{name} has an impossible shape")
    return head


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
