"""One door to all data: a name or a path in, three splits out."""

from __future__ import annotations

from pathlib import Path

from hauberk.data.decode import OnError
from hauberk.data.digits import load_digits
from hauberk.data.folder import load_folder
from hauberk.data.npz import load_npz
from hauberk.data.parquet import load_parquet
from hauberk.types import Data

_ALLOWED = (
    "'digits', a folder of images, a .parquet file, the common prefix of X-train.parquet and "
    "X-test.parquet, or a .npz file with x and y"
)


def load(source: str | Path, *, seed: int = 0, on_error: OnError = "stop") -> Data:
    """The data set that ``source`` names, in memory, split into train, validation and test.

    Args:
        source: ``"digits"``; a folder with ``train/<class>/*.png`` (and ``val``, ``test``) or
            ``<class>/*.png``; a ``.parquet`` file in the Hugging Face layout, or the common prefix
            of ``X-train.parquet`` and ``X-test.parquet``; or a ``.npz`` file.
        seed: moves the border between train and validation; the test split never depends on it
            (and ``digits`` does not at all).
        on_error: what a corrupt image does: ``"stop"`` with a sentence that names it, or
            ``"skip"``: it is left out, and `Data.notes` says how many were.

    Raises:
        FileNotFoundError: a path that does not exist.
        ValueError: an unknown name, a foreign or damaged file, or pixels or labels that cannot be.
    """
    if on_error not in ("stop", "skip"):
        raise ValueError(f"on_error was given as {on_error!r}; give stop or skip.")
    if str(source) == "digits":
        return load_digits()
    path = Path(source)
    siblings = _pair(path)
    if siblings:
        return load_parquet(*siblings, seed=seed, on_error=on_error)
    if str(source) and path.is_dir():
        return load_folder(path, seed=seed, on_error=on_error)
    if path.suffix not in {".parquet", ".npz"}:
        raise ValueError(f"The data {str(source)!r} are unknown: give {_ALLOWED}.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no data file {str(path)!r}: give {_ALLOWED}.")
    return load_npz(path, seed=seed)


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
