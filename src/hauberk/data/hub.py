"""Loader for data sets of the Hugging Face Hub, by name, through the package ``datasets``.

The package downloads, caches and decodes. Each split is then read like any map-style data set
(see `hauberk.data.objects`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hauberk.data.decode import Reading
from hauberk.data.objects import load_objects
from hauberk.data.store import Store
from hauberk.dataset import Data
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
    return dict(found)
