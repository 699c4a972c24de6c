"""Data of the Hugging Face Hub, by name, through its own package ``datasets``.

That package downloads, keeps and decodes; a split is then read as any map-style data set is, see
`hauberk.data.objects`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hauberk.data.decode import OnError
from hauberk.data.objects import load_objects
from hauberk.data.store import Store
from hauberk.dataset import Data
from hauberk.runtime.packages import gist, need

PREFIX = "hub:"


def load_hub(source: str, *, seed: int, on_error: OnError, store: Store) -> Data:
    """``hub:owner/name``, or ``hub:owner/name:configuration``, as `Data`.

    Raises:
        ValueError: the package is missing, the Hub does not give the data (with its own error), or
            they have other splits or columns than a classifier needs.
    """
    name, _, configuration = source.removeprefix(PREFIX).partition(":")
    if not name:
        raise ValueError(
            f"The data {source!r} name nothing on the Hub; give them as in hub:ylecun/mnist."
        )
    splits = _splits(name, configuration)
    return load_objects(splits, source, seed=seed, on_error=on_error, store=store)


def _splits(name: str, configuration: str) -> Mapping[str, Any]:
    need("hub", "datasets")
    import datasets

    try:
        found = datasets.load_dataset(name, configuration or None)
    except Exception as error:  # a network, a Hub and a cache may fail in any way
        raise ValueError(
            f"The Hub did not give {name} ({type(error).__name__}: {gist(error)}); give data that "
            "it has, such as hub:ylecun/mnist, or a file."
        ) from error
    return dict(found)
