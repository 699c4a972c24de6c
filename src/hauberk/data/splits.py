"""Assembly of the three splits: class names become indices, and missing splits are held out.

Every loader ends here, so that all of them number classes and split in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hauberk.class_names import few
from hauberk.data.holdout import TRAIN, split
from hauberk.data.store import Store
from hauberk.data.validate import class_count, column, examples
from hauberk.dataset import Data, Examples


@dataclass(frozen=True)
class Part:
    """Images and labels of one file, folder or object.

    Attributes:
        x: images, (count, height, width) or (count, channel, height, width). A tensor belongs to
            the store and is rearranged in place; an array belongs to the user and is not changed.
        y: one label per image: class indices, or names.
        where: the file, folder or object, for errors.
        names: class names by index, if the source declares them.
        classes: number of classes, if the source declares it.
        notes: remarks on how the part was read, one line each.
    """

    x: NDArray[Any] | Tensor
    y: NDArray[Any]
    where: str
    names: tuple[str, ...] = ()
    classes: int | None = None
    notes: tuple[str, ...] = ()


def assemble(
    name: str, parts: Mapping[str, Part], seed: int, store: Store, labelled: bool = True
) -> Data:
    """Make three splits of ``parts``; `hauberk.data.holdout.split` holds out the missing ones.

    Class names become indices: in the order that the source declares, else sorted.

    Args:
        name: name of the data.
        parts: the given splits by ``train``, ``validation``, ``test``.
        seed: moves the border between train and validation.
        store: allocates the pixels.
        labelled: whether labels are kept; without them the data have no classes.

    Raises:
        ValueError: invalid labels or pixels, parts that do not fit together, or a single class.
    """
    if not labelled:
        parts = {
            key: replace(part, y=np.zeros(len(part.x), np.int64)) for key, part in parts.items()
        }
    names, labels = _indices(parts) if labelled else ((), {k: p.y for k, p in parts.items()})
    found = {key: examples(part.x, labels[key], part.where) for key, part in parts.items()}
    where = " and ".join(dict.fromkeys(part.where for part in parts.values()))
    where = where.replace(" and The ", " and the ")
    own = {key for key, part in parts.items() if isinstance(part.x, Tensor)}
    found = _one_shape(found, where, own, store)
    classes = _classes(parts, found, len(names), where) if labelled else 0
    data = split(name, found, classes, seed, partial(store.arranged, own=TRAIN in own))
    held = (data.train.x, data.validation.x, data.test.x)
    notes = (*_notes(parts, found, names), *_gaps(found, classes, where), *store.notes(held))
    return replace(data, labels=_worth_keeping(names), notes=notes)


def _classes(
    parts: Mapping[str, Part], found: Mapping[str, Examples], names: int, where: str
) -> int:
    declared = [part.classes for part in parts.values() if part.classes is not None]
    classes = class_count(list(found.values()), names or max(declared, default=None), where)
    if TRAIN in found:
        class_count([found[TRAIN]], None, parts[TRAIN].where)
    return classes


def _worth_keeping(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, or none if they equal the indices: these would waste bytes in every file."""
    return () if names == tuple(map(str, range(len(names)))) else names


def _indices(parts: Mapping[str, Part]) -> tuple[tuple[str, ...], dict[str, NDArray[Any]]]:
    """The class names, if there are any, and the labels of every part as indices."""
    declared = _declared(parts)
    text = {key: part.y.dtype.kind in "US" for key, part in parts.items()}
    if not any(text.values()):
        return declared, {key: part.y for key, part in parts.items()}
    if not all(text.values()):
        raise ValueError(
            f"{_first(parts, text, True).where} has names as labels and "
            f"{_first(parts, text, False).where} has numbers: give one kind in all splits."
        )
    words = {key: _words(replace(part, y=column(part.y))) for key, part in parts.items()}
    names = declared or tuple(sorted({word for some in words.values() for word in some}))
    place = {name: index for index, name in enumerate(names)}
    for key, some in words.items():
        unknown = next((word for word in some if word not in place), None)
        if unknown is not None:
            raise ValueError(
                f"{parts[key].where} has the label {unknown[:40]!r}, which is not one of the "
                f"{len(names)} names that it declares: give one of those."
            )
    return names, {
        key: np.array([place[word] for word in some], np.int64) for key, some in words.items()
    }


def _declared(parts: Mapping[str, Part]) -> tuple[str, ...]:
    found = {part.names: part.where for part in parts.values() if part.names}
    if len(found) > 1:
        raise ValueError(
            f"{' and '.join(found.values())} declare different names for their classes: "
            "give splits of one data set."
        )
    return next(iter(found), ())


def _first(parts: Mapping[str, Part], text: Mapping[str, bool], wanted: bool) -> Part:
    return next(part for key, part in parts.items() if text[key] == wanted)


def _words(part: Part) -> list[str]:
    """The labels as a list of text."""
    try:
        text = np.char.decode(part.y, "utf-8") if part.y.dtype.kind == "S" else part.y
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{part.where} has labels that are not UTF-8: give names as text."
        ) from error
    if text.ndim != 1:
        raise ValueError(
            f"{part.where} has labels of shape {text.shape}: give one label for each image."
        )
    words: list[str] = text.tolist()
    return words


def _one_shape(
    parts: Mapping[str, Examples], where: str, own: set[str], store: Store
) -> dict[str, Examples]:
    """The parts, all of one shape; if gray and RGB are mixed, gray becomes RGB, in the store."""
    shapes = {part.shape for part in parts.values()}
    found = dict(parts)
    if len(shapes) > 1 and {shape[0] for shape in shapes} == {1, 3}:
        for key, part in parts.items():
            if part.shape[0] == 1:
                found[key] = replace(part, x=store.widened(part.x))
                if key in own:
                    store.drop(part.x)
                own.add(key)
        shapes = {part.shape for part in found.values()}
    if len(shapes) > 1:
        raise ValueError(
            f"{where} have images of the shapes {' and '.join(map(str, shapes))}: "
            "give images of one shape, or bring encoded images to one with --image-size."
        )
    return found


def _gaps(parts: Mapping[str, Examples], classes: int, where: str) -> Iterator[str]:
    """A note if the class indices have gaps: they may not count from 0."""
    seen = set().union(*(set(part.y.tolist()) for part in parts.values()))
    empty = [k for k in range(classes) if k not in seen]
    if empty:
        listed = few([*map(str, empty)])
        first = "; subtract 1 from the labels if they count from 1" if empty == [0] else ""
        yield f"{where}: {classes} classes, of which {listed} without an image{first}."


def _notes(
    parts: Mapping[str, Part], found: Mapping[str, Examples], names: Sequence[str]
) -> list[str]:
    notes = [note for part in parts.values() for note in part.notes]
    known = set(found[TRAIN].y.tolist()) if TRAIN in found else set()
    for key, part in found.items():
        new = sorted(set(part.y.tolist()) - known) if known else []
        if new:
            called = ", ".join(names[k] if names else str(k) for k in new[:5])
            notes.append(
                f"{parts[key].where} has {len(new)} class(es) with no training image: {called}."
            )
    return notes
