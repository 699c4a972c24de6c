"""Splits in which every part holds the classes in their own proportions."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hauberk.ops.random import generator, permutation
from hauberk.types import Data, Examples, Labels

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


def split(name: str, parts: Mapping[str, Examples], classes: int, seed: int) -> Data:
    """The given splits, and those that are missing, from the training examples.

    A test split that is not given is 10% of them, the same for every seed, so that no seed ever
    trains on it. A validation split that is not given is 10% of them by the seed, and at most 5,000
    where the test split was given.

    Args:
        name: of the data.
        parts: by ``train``, ``validation``, ``test``.
        classes: of the data.
        seed: moves the border between train and validation.

    Raises:
        ValueError: too few examples for that, or nothing to train on or test on.
    """
    none = next(iter(parts.values())).first(0)
    train, test = parts.get(TRAIN, none), parts.get(TEST)
    tenth = round(0.1 * len(train))
    if test is not None:
        tenth = min(5000, tenth)
    elif not tenth:
        raise ValueError(
            f"The data {name} have {len(train)} training images, too few to hold out a tenth of "
            "them as a test split: give more, or a test split."
        )
    else:
        train, test = _carve(train, tenth, "test")
    validation = parts.get(VALIDATION, none)
    if VALIDATION not in parts and tenth:
        train, validation = _carve(train, tenth, "validation", seed)
    return Data(name, train=train, validation=validation, test=test, classes=classes)


def lone(name: str) -> str:
    """Which split the only file of a data set is: its name may end in "test"."""
    return TEST if name.lower().endswith("test") else TRAIN


def _carve(examples: Examples, count: int, *place: int | str) -> tuple[Examples, Examples]:
    order = stratified(examples.y, *place)
    part, rest = order[:count], order[count:].sort().values
    return tuple(Examples(examples.x[i], examples.y[i]) for i in (rest, part))  # type: ignore[return-value]
