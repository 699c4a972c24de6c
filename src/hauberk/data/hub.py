"""Loader for data sets of the Hugging Face Hub, by name, through the package ``datasets``.

The package downloads and caches; images are decoded here. Each split is then read like any
map-style data set (see `hauberk.data.objects`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from hauberk.data.decode import Reading, opened
from hauberk.data.objects import load_objects
from hauberk.data.store import Store
from hauberk.dataset import Data
from hauberk.runtime import files
from hauberk.runtime.packages import gist, need

PREFIX = "hub:"


def load_hub(source: str, *, seed: int, reading: Reading, store: Store) -> Data:
    """Load a data set from the Hub.

    Args:
        source: ``hub:owner/name`` or ``hub:owner/name:configuration``.
        seed: moves the border between train and validation.
        reading: size of the images, whether they have labels, and what to do with a corrupt one.
        store: allocates the pixels.

    Raises:
        ValueError: the package is missing, the Hub fails (its error is quoted), or the splits or
            columns are not those of a classification data set.
    """
    name, _, configuration = source.removeprefix(PREFIX).partition(":")
    if not name:
        raise ValueError(
            f"The data {source!r} name no data set of the Hub; give its owner and name, as in "
            "hub:ylecun/mnist."
        )
    splits = _splits(name, configuration)
    return load_objects(splits, source, seed=seed, reading=reading, store=store)


def _splits(name: str, configuration: str) -> Mapping[str, Any]:
    need("hub", "datasets")
    import datasets

    try:
        found = datasets.load_dataset(name, configuration or None)
    except Exception as error:  # the network, the Hub and the cache may fail in any way
        raise ValueError(
            f"The data set {name} could not be loaded from the Hub ({type(error).__name__}: "
            f"{gist(error)}); give one that it has, such as hub:ylecun/mnist, or a file."
        ) from error
    return {name: _encoded(split, datasets.Image) for name, split in found.items()}


def _encoded(split: Any, feature: Any) -> Any:
    """The split with its images left encoded by the package and decoded by `_Decoding`."""
    features = split.features if isinstance(split.features, Mapping) else {}
    columns = [name for name, found in features.items() if isinstance(found, feature)]
    for name in columns:
        split = split.cast_column(name, feature(decode=False))
    return _Decoding(split, columns) if columns else split


class _Decoding:
    """A split whose images are decoded by our own decoder, which opens few formats.

    Args:
        split: rows as mappings.
        columns: of encoded images.
    """

    def __init__(self, split: Any, columns: Sequence[str]) -> None:
        self.split, self.columns, self.features = split, columns, split.features

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = dict(self.split[index])
        return row | {name: _image(**row[name]) for name in self.columns}


def _image(bytes: bytes | None, path: str | None) -> Image.Image:
    """A decoded image from its bytes, or from its file in the package's cache."""
    content = files.read(Path(path), "an image") if bytes is None and path else bytes
    if content is None:
        raise ValueError("the row has no bytes")
    image = opened(io.BytesIO(content))
    image.load()
    return image
