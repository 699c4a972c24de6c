"""One door to all data: a name, a path or a user's own objects in, three splits out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from torch.utils.data import DataLoader, Dataset

from hauberk.data.decode import OnError
from hauberk.data.digits import load_digits
from hauberk.data.folder import load_folder
from hauberk.data.hub import PREFIX, load_hub
from hauberk.data.npz import load_npz
from hauberk.data.objects import load_objects
from hauberk.data.store import Store
from hauberk.dataset import Data
from hauberk.runtime.packages import find, gist, here, is_place, need

Given: TypeAlias = (
    str
    | Path
    | Data
    | Dataset[Any]
    | DataLoader[Any]
    | tuple[Any, ...]
    | Mapping[str, Any]
    | Callable[[], Any]
)
"""What `load` takes."""

_ALLOWED = (
    "'digits', a folder of images, a .parquet file, the common prefix of X-train.parquet and "
    "X-test.parquet, a .npz file with x and y, hub:owner/name, or package.module:function"
)


def load(
    source: Given, *, seed: int = 0, on_error: OnError = "stop", memory: int | None = None
) -> Data:
    """The data set that ``source`` names or is, decoded, split into train, validation and test.

    Args:
        source: ``"digits"``; a folder with ``train/<class>/*.png`` (and ``val``, ``test``) or
            ``<class>/*.png``; a ``.parquet`` file in the Hugging Face layout, or the common prefix
            of ``X-train.parquet`` and ``X-test.parquet``; a ``.npz`` file;
            ``"hub:owner/name"``; ``"package.module:function"``.
            Or a function, `Data`, or one split or a tuple (train, test) or (train, validation,
            test) or a mapping of splits, each a torch `Dataset`, a `DataLoader` or arrays (x, y):
            they are read once, see `hauberk.data.objects`.
        seed: moves the border between train and validation; the test split never depends on it
            (and ``digits`` does not at all).
        on_error: what to do with a corrupt image: ``"stop"`` with an error that names it, or
            ``"skip"``: it is left out, and `Data.notes` says how many were.
        memory: bytes that the pixels may take in memory, by default half of what is free. Those of
            a split that does not fit are decoded into a nameless file in ``TMPDIR`` (else in
            /var/tmp) and read from there; nothing else changes.

    Raises:
        FileNotFoundError: a path that does not exist.
        ValueError: an unknown name, a foreign or damaged file, a missing extra, pixels or labels
            that cannot be, or a function that fails, with its own error.
        OSError: a file that cannot be read, or no room on the disk for what does not fit in memory.
    """
    if on_error not in ("stop", "skip"):
        raise ValueError(f"on_error was given as {on_error!r}; give stop or skip.")
    if isinstance(source, Data):
        return source
    store = Store(memory)
    if not isinstance(source, str | Path):
        name = getattr(source, "__name__", type(source).__name__)
        return _made(source, name, seed, on_error, store)
    if str(source) == "digits":
        return load_digits()
    if str(source).startswith(PREFIX):
        return load_hub(str(source), seed=seed, on_error=on_error, store=store)
    if isinstance(source, str) and is_place(source) and not Path(source).exists():
        return _made(find(source), source, seed, on_error, store)
    return _file(Path(source), str(source), seed, on_error, store)


def _made(source: Any, name: str, seed: int, on_error: OnError, store: Store) -> Data:
    """What a user's function gives, or what is given in its place."""
    with here():  # it may import more while it runs
        if callable(source):
            try:
                source = source()
            except Exception as error:  # a user's function may fail in any way
                raise ValueError(
                    f"The function {name} failed ({type(error).__name__}: {gist(error)}); fix it."
                ) from error
        if isinstance(source, Data):
            return source
        return load_objects(source, name, seed=seed, on_error=on_error, store=store)


def _file(path: Path, source: str, seed: int, on_error: OnError, store: Store) -> Data:
    siblings = _pair(path)
    if siblings:
        need("parquet", "pyarrow")
        from hauberk.data.parquet import load_parquet  # an extra: 174 MB that digits do not need

        return load_parquet(*siblings, seed=seed, on_error=on_error, store=store)
    if source and path.is_dir():
        return load_folder(path, seed=seed, on_error=on_error, store=store)
    if path.suffix not in {".parquet", ".npz"}:
        raise ValueError(f"The data {source!r} are unknown: give {_ALLOWED}.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no data file {str(path)!r}: give {_ALLOWED}.")
    return load_npz(path, seed=seed, store=store)


def _pair(path: Path) -> list[Path]:
    """The parquet files that belong together, of those that exist: train, then test."""
    if path.suffix == ".parquet":
        stem = path.stem.removesuffix("-train").removesuffix("-test")
        if stem == path.stem or not path.is_file():
            return [path] if path.is_file() else []
    elif path.name:
        stem = path.name
    else:
        return []
    both = [path.with_name(f"{stem}-{part}.parquet") for part in ("train", "test")]
    return [file for file in both if file.is_file()]
