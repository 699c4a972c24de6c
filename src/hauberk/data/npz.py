"""Loader for NumPy archives: x and y, or x_train, y_train, x_test and y_test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile
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

_KINDS = {np.dtype(np.uint8): torch.uint8, np.dtype(np.float32): torch.float32}
_PIECE = 1 << 24  # bytes per read
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
    return Part(x, np.asarray(arrays.get(f"y{ending}", np.zeros(len(x), np.int64))), where)


def _arrays(
    path: Path, where: str, store: Store, choices: tuple[set[str], ...]
) -> dict[str, NDArray[Any] | Tensor]:
    """Read the arrays of one of the choices of names at least, pixels into the store."""
    wanted = {name for names in choices for name in names}
    try:
        with path.open("rb") as file:
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
    """Read uint8 or float32 pixels piece by piece into the store; other arrays as NumPy does."""
    members, file = archive.zip, f"{name}.npy"
    if members is None or not name.startswith("x") or file not in members.namelist():
        return archive[name]
    with members.open(file) as member:
        header = _header(member)
        if header is None:
            return archive[name]
        shape, kind = header
        nbytes = math.prod(shape) * kind.itemsize
        if members.getinfo(file).file_size != member.tell() + nbytes:
            raise ValueError(f"the length of {name} does not match its shape")
        x = store.empty(shape, kind)
        content = x.view(-1).view(torch.uint8).numpy()
        for start in range(0, nbytes, _PIECE):
            piece = content[start : start + _PIECE]
            found = member.read(len(piece))
            if len(found) < len(piece):
                raise ValueError(f"{name} is truncated")
            piece[:] = np.frombuffer(found, np.uint8)
    return x


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], torch.dtype] | None:
    """Shape and type; None if the array is in column order or of another type."""
    readers = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}
    read = readers.get(read_magic(member))
    shape, columns, kind = read(member) if read else ((), True, np.dtype(object))
    return None if columns or kind not in _KINDS else (shape, _KINDS[kind])


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
