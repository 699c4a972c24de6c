"""Splits in which every part holds the classes in their own proportions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from hauberk.dataset import Data, Examples
from hauberk.ops.random import generator, permutation
from hauberk.types import Labels

Arranged: TypeAlias = Callable[[Tensor, Tensor, int], Tensor]
"""Rows, their new order, and how many of the first in it ascend: the rows in that order."""

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = {"train": TRAIN, "val": VALIDATION, "validation": VALIDATION, "test": TEST}
"""What a split may be called, and which it is."""


def stratified(y: Labels, *place: int | str) -> Tensor:
    """A random order of the examples of which every stretch is stratified, to one per class.

    The k-th of the n examples of a class stands at (k + ½)/n of the way.

    Args:
        y: class indices.
        place: what seeds the order.
    """
    shuffled = permutation(len(y), generator("split", *place))
    by_class = shuffled[y[shuffled].argsort(stable=True)]
    count = torch.bincount(y)
    rank = torch.arange(len(y)) - (count.cumsum(0) - count)[y[by_class]]
    way = (rank.double() + 0.5) / count[y[by_class]]
    return by_class[way.argsort(stable=True)]


def split(
    name: str, parts: Mapping[str, Examples], classes: int, seed: int, arranged: Arranged
) -> Data:
    """The given splits, and those that are missing, from the training examples.

    A test split that is not given is 10% of them, the same for every seed, so that no seed ever
    trains on it. A validation split that is not given is 10% of them by the seed, and at most 5,000
    where the test split was given.

    Args:
        name: of the data.
        parts: by ``train``, ``validation``, ``test``.
        classes: of the data.
        seed: moves the border between train and validation.
        arranged: gives the training pixels in another order, of which the first ``stay`` ascend.

    Raises:
        ValueError: too few examples for that, or nothing to train on or test on.
    """
    none = next(iter(parts.values())).first(0)
    whole, splits = parts.get(TRAIN, none), {VALIDATION: none, TEST: none, **parts}
    train, tenth = torch.arange(len(whole)), round(0.1 * len(whole))
    held: dict[str, Tensor] = {}
    if TEST in parts:
        tenth = min(5000, tenth)
    elif not tenth:
        raise ValueError(
            f"The data {name} have {len(whole)} training images, too few to hold out a tenth of "
            "them as a test split: give more, or a test split."
        )
    else:
        train, held[TEST] = _held_out(whole.y, train, tenth, "test")
    if VALIDATION not in parts and tenth:
        train, held[VALIDATION] = _held_out(whole.y, train, tenth, "validation", seed)
    if held:
        splits |= _parted(whole, {TRAIN: train, **held}, arranged)
    return Data(
        name,
        train=splits.get(TRAIN, none),
        validation=splits[VALIDATION],
        test=splits[TEST],
        classes=classes,
    )


def lone(name: str) -> str:
    """Which split the only file of a data set is: its name may end in "test"."""
    return TEST if name.lower().endswith("test") else TRAIN


def _held_out(y: Labels, rows: Tensor, count: int, *place: int | str) -> tuple[Tensor, Tensor]:
    """Of ``rows``, which ascend: those that stay, which ascend too, and those that leave."""
    order = stratified(y[rows], *place)
    return rows[order[count:].sort().values], rows[order[:count]]


def _parted(whole: Examples, rows: Mapping[str, Tensor], arranged: Arranged) -> dict[str, Examples]:
    """The rows of each part, training first, as stretches of one tensor."""
    order = torch.cat(list(rows.values()))
    x = arranged(whole.x, order, len(rows[TRAIN]))
    sizes = [len(part) for part in rows.values()]
    each = zip(rows, torch.split(x, sizes), torch.split(whole.y[order], sizes), strict=True)
    return {name: Examples(pixels, y) for name, pixels, y in each}
