"""Loader for a user's own data: torch Datasets and DataLoaders, arrays, or splits of them.

Every image is read once and kept as uint8 or float32 in [0, 1], so a random transform is drawn
once, by the seed. Augmentation that changes from epoch to epoch is a setting of the method
(``--shift``, ``--flip``, ``--cutout``). A DataLoader keeps its own order and its own workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from hauberk.data.decode import Reading, left_out
from hauberk.data.holdout import TEST, TRAIN, VALIDATION, split_named
from hauberk.data.splits import Part, assemble
from hauberk.data.stack import Pile
from hauberk.data.store import Store
from hauberk.dataset import Data
from hauberk.runtime.packages import gist

_IMAGE, _LABEL = ("image", "img", "x"), ("label", "y")
_FORMS = (
    "a Dataset, a DataLoader or arrays (x, y), alone or as (train, test) or "
    "(train, validation, test)"
)


class _Faulty(NamedTuple):
    """An example that could not be read, and the reason."""

    why: str


def load_objects(source: Any, name: str, *, seed: int, reading: Reading, store: Store) -> Data:
    """Load a user's splits.

    Args:
        source: one split, a tuple (train, test) or (train, validation, test), or a mapping of
            splits by name. A split is arrays (x, y), or an iterable of examples: pairs (image,
            label), or mappings with ``image`` and ``label``. An image is an array, a tensor or a
            pillow image.
        name: name of the data, for errors.
        seed: seeds random transforms, and moves the border between train and validation.
        reading: size of pillow images, whether there are labels, and what to do with an example
            that a map-style data set fails to return.
        store: allocates the pixels.

    Raises:
        ValueError: unsupported objects, or an object that fails (its error is quoted).
        NoRoom: the pixels fit neither in memory nor on disk.
    """
    parts = {
        split: _part(given, f"The {split} split of {name}", seed, reading, store)
        for split, given in _splits(source, name).items()
    }
    return assemble(name, parts, seed, store, reading.labelled)


def _splits(source: Any, name: str) -> dict[str, Any]:
    if isinstance(source, Mapping):
        found = {str(split_named(key)): split for key, split in source.items()}
        if "None" in found or len(found) < len(source) or not source:
            raise ValueError(
                f"The splits of {name} are {', '.join(map(str, source)) or 'empty'}; give train, "
                "validation and test."
            )
        return found
    if not isinstance(source, tuple) or _is_pair(source):
        return {TRAIN: source}
    if len(source) not in (2, 3):
        raise ValueError(f"The data {name} are a tuple of {len(source)}; give {_FORMS}.")
    places = (TRAIN, TEST) if len(source) == 2 else (TRAIN, VALIDATION, TEST)
    return dict(zip(places, source, strict=True))


def _is_pair(source: Any) -> bool:
    """Whether ``source`` is the arrays (x, y) of one split."""
    return isinstance(source, tuple | list) and len(source) == 2 and _is_array(source[0])


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def _part(given: Any, where: str, seed: int, reading: Reading, store: Store) -> Part:
    if _is_pair(given):
        return Part(_array(given[0]), np.asarray(_array(given[1])), where)
    if not hasattr(given, "__iter__") and not hasattr(given, "__getitem__"):
        raise ValueError(f"{where} is of type {type(given).__name__}; give {_FORMS}.")
    pile, labels, faults = Pile(where, store, _length(given)), [], []
    with torch.random.fork_rng(devices=[]):  # a shuffling loader draws from the global generator
        torch.manual_seed(seed)
        for place, example in enumerate(_examples(given)):
            at = f"at example {place}"
            if isinstance(example, _Faulty):
                faults.append(f"{at} ({example.why})")
                if reading.on_error == "stop" or not _by_index(given):
                    raise ValueError(f"{where} failed {faults[-1]}; fix it.")
            else:
                image, label = _taken(example, where, at, reading)
                pile.add(image, at)
                labels.append(label)
    if len({isinstance(label, str) for label in labels}) > 1:
        raise ValueError(f"{where} has names and numbers as labels: give one kind.")
    names, notes = _names(given), left_out(where, faults)
    return Part(pile.tensor(), np.array(labels), where, names, len(names) or None, notes)


def _names(given: Any) -> tuple[str, ...]:
    """The class names that a Hugging Face data set declares."""
    features = getattr(given, "features", None)
    label = features.get("label") if isinstance(features, Mapping) else None
    return tuple(map(str, getattr(label, "names", None) or ()))


def _length(given: Any) -> int:
    try:
        return len(given)
    except TypeError:  # an iterable may have no length
        return 0


def _examples(given: Any) -> Iterator[Any]:
    """Yield the examples in order; a user's exception becomes a `_Faulty`."""
    if isinstance(given, DataLoader):
        for batch in _guarded(iter(given)):
            yield from [batch] if isinstance(batch, _Faulty) else _unbatched(batch, given)
    elif _by_index(given):
        for place in range(len(given)):
            try:
                yield given[place]
            except Exception as error:  # a user's data set may fail in any way
                yield _faulty(error)
    else:
        yield from _guarded(iter(given))


def _by_index(given: Any) -> bool:
    """Whether the data are map-style: an example can be read even if an earlier one failed."""
    iterable = isinstance(given, IterableDataset | DataLoader)
    return not iterable and hasattr(given, "__getitem__") and hasattr(given, "__len__")


def _guarded(items: Iterator[Any]) -> Iterator[Any]:
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except Exception as error:  # a user's iterator may fail in any way, and ends then
            yield _faulty(error)
            return
        yield item


def _faulty(error: Exception) -> _Faulty:
    return _Faulty(f"{type(error).__name__}: {gist(error)}")


def _unbatched(batch: Any, loader: DataLoader[Any]) -> Iterator[Any]:
    if loader.batch_size is None and loader.batch_sampler is None:
        yield batch
        return
    if isinstance(batch, Mapping):
        for values in zip(*batch.values(), strict=True):
            yield dict(zip(batch, values, strict=True))
    else:
        yield from zip(*batch, strict=True)


def _taken(example: Any, where: str, at: str, reading: Reading) -> tuple[NDArray[Any], int | str]:
    """The pixels and the label of one example; 0 where labels are not wanted."""
    if isinstance(example, Mapping):
        image = next((example[key] for key in _IMAGE if key in example), None)
        label = next((example[key] for key in _LABEL if key in example), None)
        held = ", ".join(map(repr, example))
    else:
        both = isinstance(example, tuple | list) and len(example) == 2
        image, label = example if both else (example if not reading.labelled else None, None)
        held = type(example).__name__
    if not reading.labelled and image is not None:
        return _pixels(image, where, at, reading), 0
    if image is None or label is None:
        raise ValueError(
            f"{where} returns {held} {at}: give (image, label), or a mapping with 'image' and "
            "'label'."
        )
    return _pixels(image, where, at, reading), _label(label, where, at)


def _pixels(image: Any, where: str, at: str, reading: Reading) -> NDArray[Any]:
    if isinstance(image, Image.Image):
        try:
            return reading.pixels(image)
        except Exception as error:  # decoders raise many types of error on damaged bytes
            raise ValueError(
                f"{where} has an unreadable image {at} ({gist(error)}); fix or remove it."
            ) from error
    if not _is_array(image):
        raise ValueError(
            f"{where} has an image of type {type(image).__name__} {at}: give a tensor, an array or "
            "a pillow image."
        )
    found = _array(image)
    return found[None] if found.ndim == 2 else found


def _label(label: Any, where: str, at: str) -> int | str:
    one = isinstance(label, np.generic) or (_is_array(label) and _array(label).size == 1)
    value = label.item() if one else label
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(
            f"{where} has a label of type {type(value).__name__} {at}: give an index or a name."
        )
    return value


def _array(value: Any) -> NDArray[Any]:
    """Convert to NumPy, on the CPU; images of floats become float32."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.is_floating_point() else value).numpy()
    found = np.asarray(value)
    floats = found.dtype.kind == "f" and found.ndim > 1
    return found.astype(np.float32, copy=False) if floats else found
