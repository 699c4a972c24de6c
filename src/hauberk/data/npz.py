"""Data in a NumPy archive: ``x`` and ``y``, or ``x_train``, ``y_train``, ``x_test``, ``y_test``."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import BadZipFile
from zlib import error as ZlibError

import numpy as np
from numpy.typing import NDArray

from hauberk.data.assemble import Part, assemble
from hauberk.data.split import TEST, TRAIN, lone
from hauberk.data.store import Store
from hauberk.types import Data

_PAIR = ("x_train", "y_train", "x_test", "y_test")


def load_npz(path: Path, *, seed: int, store: Store) -> Data:
    """The archive as `Data`; nothing in it is ever unpickled."""
    where = f"The file {str(path)!r}"
    arrays = _arrays(path, where)
    if set(_PAIR) <= set(arrays):
        parts = {
            TRAIN: Part(arrays["x_train"], arrays["y_train"], where),
            TEST: Part(arrays["x_test"], arrays["y_test"], where),
        }
    else:
        parts = {lone(path.stem): Part(arrays["x"], arrays["y"], where)}
    return assemble(path.stem, parts, seed, store)


def _arrays(path: Path, where: str) -> dict[str, NDArray[Any]]:
    """The arrays that we know, read once."""
    wanted = {"x", "y", *_PAIR}
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it is a single array")
            with archive:
                arrays = {name: archive[name] for name in wanted & set(archive.files)}
    # a damaged archive fails in any of these ways, a false shape by asking for too much memory
    except (ValueError, OSError, EOFError, KeyError, BadZipFile, ZlibError, MemoryError) as error:
        raise ValueError(
            f"{where} is no readable .npz of plain arrays ({_first_line(error)}): "
            "write it with numpy.savez(path, x=images, y=labels)."
        ) from error
    except (NotImplementedError, SyntaxError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"{where} is damaged or in a form that is not read ({_first_line(error)}): "
            "write it with numpy.savez(path, x=images, y=labels)."
        ) from error
    if not ({"x", "y"} <= set(arrays) or set(_PAIR) <= set(arrays)):
        raise ValueError(
            f"{where} has no arrays x and y (nor {', '.join(_PAIR)}): "
            "write it with numpy.savez(path, x=images, y=labels)."
        )
    return arrays


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
