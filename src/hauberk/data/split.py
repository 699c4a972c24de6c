"""Splits in which every part holds the classes in their own proportions."""

from __future__ import annotations

import torch
from torch import Tensor

from hauberk.ops.random import generator, permutation
from hauberk.types import Data, Examples, Labels


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


def from_pair(name: str, train: Examples, test: Examples, classes: int, seed: int) -> Data:
    """The given test split, and 5,000 of the train examples (10% if fewer) for validation."""
    count = min(5000, round(0.1 * len(train)))
    train, validation = _carve(train, count, "validation", seed)
    return Data(name, train=train, validation=validation, test=test, classes=classes)


def from_lone(name: str, examples: Examples, classes: int, seed: int) -> Data:
    """One file: all of it is the test split where its name ends in "test", else 80/10/10.

    The test split is the same for every seed, so that no seed ever trains on it.
    """
    count = round(0.1 * len(examples))
    if name.lower().endswith("test"):
        none = examples.first(0)
        return Data(name, train=none, validation=none, test=examples, classes=classes)
    rest, test = _carve(examples, count, "test")
    train, validation = _carve(rest, count, "validation", seed)
    return Data(name, train=train, validation=validation, test=test, classes=classes)


def _carve(examples: Examples, count: int, *place: int | str) -> tuple[Examples, Examples]:
    order = stratified(examples.y, *place)
    part, rest = order[:count], order[count:].sort().values
    return tuple(Examples(examples.x[i], examples.y[i]) for i in (rest, part))  # type: ignore[return-value]
