"""Entry point of data loading: a name, a path or a user's own objects to three splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hauberk.data.decode import OnError, Reading
from hauberk.data.digits import load_digits
from hauberk.data.folder import load_folder
from hauberk.data.hub import PREFIX, load_hub
from hauberk.data.npz import load_npz
from hauberk.data.objects import load_objects
from hauberk.data.store import Store
from hauberk.dataset import Data
from hauberk.preparation import COVER, Size, shown, sides
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
"""Sources that `load` accepts."""

_ALLOWED = (
    "'digits', a folder of images, a .parquet file, the common prefix of X-train.parquet and "
    "X-test.parquet, a .npz file with x and y, hub:owner/name, or package.module:function"
)


def load(
    source: Given,
    *,
    seed: int = 0,
    on_error: OnError = "stop",
    memory: int | None = None,
    image_size: int | Size | None = None,
    recorded: tuple[int, ...] | None = None,
    labelled: bool = True,
) -> Data:
    """Load a data set, decode it, and split it into train, validation and test.

    Args:
        source: ``"digits"``; a folder with ``train/<class>/*.png`` (and ``val``, ``test``) or
            ``<class>/*.png``; a ``.parquet`` file in the Hugging Face layout, or the common prefix
            of ``X-train.parquet`` and ``X-test.parquet``; a ``.npz`` file;
            ``"hub:owner/name"``; ``"package.module:function"``.
            Or a Python object: `Data`; one split, a tuple (train, test) or (train, validation,
            test), or a mapping of splits, each a torch `Dataset`, a `DataLoader` or arrays (x, y);
            or a function that returns one of these. Each is read once (see
            `hauberk.data.objects`).
        seed: moves the border between train and validation; the test split never depends on it,
            and ``digits`` ignores it.
        on_error: policy for a corrupt image: ``"stop"`` raises an error that names it; ``"skip"``
            leaves it out, and `Data.notes` gives the count.
        memory: bytes that the pixels may take in memory; by default half of the free memory. A
            split that does not fit is decoded into an unlinked file in ``TMPDIR`` (else in
            /var/tmp) and read from there; results are the same.
        image_size: side of the square, or height and width, that photographs are brought to: each
            is turned upright, enlarged or reduced by one factor until it just covers that size
            (Lanczos), and cropped at its centre. Arrays keep their size.
        recorded: input shape of a file whose images were prepared so; photographs are brought to it
            unless ``image_size`` is given.
        labelled: whether the images have labels. Without them the data have no classes, and a
            folder may hold images in any subfolders, the splits ``train``, ``val`` and ``test``
            among them.

    Raises:
        FileNotFoundError: the path does not exist.
        ValueError: an unknown name, an unsupported or damaged file, a missing extra, invalid
            pixels or labels, or a user's function that fails (its error is quoted).
        OSError: a file cannot be read, or the disk is too full for pixels that exceed the memory.
    """
    if on_error not in ("stop", "skip"):
        raise ValueError(f"on_error was given as {on_error!r}; give stop or skip.")
    size = sides(image_size)
    own = None if recorded is None else (recorded[-2], recorded[-1])
    rgb = recorded is not None and recorded[0] == 3
    data = _loaded(source, seed, Reading(on_error, size or own, labelled, rgb), Store(memory))
    if size and data.shape[-2:] != size:
        raise ValueError(
            f"image_size was given as {' × '.join(map(str, size))} for {data.name}, whose images "
            f"are arrays of {' × '.join(map(str, data.shape))}; leave it out, or resize the arrays."
        )
    if not _is_arrays(source):
        data = _prepared(data, size, own)
    return data if labelled else data.unlabelled()


def _is_arrays(source: Given) -> bool:
    """Whether a source surely holds no encoded images, so that nothing was resized."""
    if isinstance(source, Data) or source == "digits":
        return True
    return isinstance(source, str | Path) and Path(source).suffix == ".npz"


def _prepared(data: Data, size: Size | None, own: Size | None) -> Data:
    """The data with the rule by which they were resized; a note if a file's own size mattered."""
    found = data.shape[-2:]
    if found not in (size, own):
        return data
    notes = data.notes
    if size is None:
        notes += (f"{data.name}: images are {shown(COVER, data.shape)}, as the file records.",)
    elif own and own != size:
        notes += (
            f"{data.name}: images are {shown(COVER, data.shape)}, and the file records "
            f"{' × '.join(map(str, own))}.",
        )
    return replace(data, resize=COVER, notes=notes)


def _loaded(source: Given, seed: int, reading: Reading, store: Store) -> Data:
    if isinstance(source, Data):
        return source
    if not isinstance(source, str | Path):
        return _from_object(source, _name(source), seed, reading, store)
    if str(source) == "digits":
        return load_digits()
    if str(source).startswith(PREFIX):
        return load_hub(str(source), seed=seed, reading=reading, store=store)
    if isinstance(source, str) and is_place(source) and not Path(source).exists():
        return _from_object(find(source), source, seed, reading, store)
    return _from_file(Path(source), str(source), seed, reading, store)


def _name(source: Any) -> str:
    """The name of a user's object in messages: of a function, or of the class of its splits."""
    if hasattr(source, "__name__"):
        return str(source.__name__)
    if isinstance(source, Mapping):
        return _name(next(iter(source.values()), "no splits"))
    if isinstance(source, tuple | list):
        return _name(source[0]) if source else "no splits"
    return "arrays" if isinstance(source, np.ndarray | Tensor) else type(source).__name__


def _from_object(source: Any, name: str, seed: int, reading: Reading, store: Store) -> Data:
    """Load a user's object, or the object that a user's function returns."""
    with here():  # a function may import from the current directory while it runs
        if callable(source):
            try:
                source = source()
            except Exception as error:  # a user's function may fail in any way
                raise ValueError(
                    f"The function {name} failed ({type(error).__name__}: {gist(error)}); fix it."
                ) from error
        if isinstance(source, Data):
            return source
        return load_objects(source, name, seed=seed, reading=reading, store=store)


def _from_file(path: Path, source: str, seed: int, reading: Reading, store: Store) -> Data:
    siblings = _pair(path)
    if siblings:
        need("parquet", "pyarrow")
        from hauberk.data.parquet import load_parquet  # an optional extra of 174 MB

        return load_parquet(*siblings, seed=seed, reading=reading, store=store)
    if source and path.is_dir():
        return load_folder(path, seed=seed, reading=reading, store=store)
    if path.suffix not in {".parquet", ".npz"}:
        raise ValueError(f"The data {source!r} are unknown: give {_ALLOWED}.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no data file {str(path)!r}: give {_ALLOWED}.")
    return load_npz(path, seed=seed, store=store, labelled=reading.labelled)


def _pair(path: Path) -> list[Path]:
    """The existing parquet files of one data set: train, then test."""
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
