"""Stratified splits: every part has the class proportions of the whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from hauberk.dataset import Data, Examples
from hauberk.ops.random import generator, permutation
from hauberk.types import Labels

Arranged: TypeAlias = Callable[[Tensor, Tensor, int], Tensor]
"""Reorders rows: (rows, order, n) to ``rows[order]``; the first n entries of the order ascend."""

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "test": TEST,
    "testing": TEST,
}
"""Accepted names of splits in lower case, and the split that each names; see `split_named`."""


def split_named(name: object) -> str | None:
    """The split that a folder or a key is named after, in any letter case; None if it is none."""
    return SPLITS.get(str(name).lower())


def stratified(y: Labels, *place: int | str) -> Tensor:
    """A random order of which every contiguous part is stratified, to within one per class.

    The k-th of the n examples of a class is placed at the fraction (k + ½)/n of the order.

    Args:
        y: class indices, (count,).
        place: seeds the order.
    """
    shuffled = permutation(len(y), generator("split", *place))
    by_class = shuffled[y[shuffled].argsort(stable=True)]
    count = torch.bincount(y)
    rank = torch.arange(len(y)) - (count.cumsum(0) - count)[y[by_class]]
    position = (rank.double() + 0.5) / count[y[by_class]]
    return by_class[position.argsort(stable=True)]


def split(
    name: str, parts: Mapping[str, Examples], classes: int, seed: int, arranged: Arranged
) -> Data:
    """Complete the given splits: a missing split is held out from the training examples.

    A missing test split takes 10% of them, the same for every seed, so that no seed trains on it.
    A missing validation split takes 10% of them, chosen by the seed; at most 5,000 examples if the
    test split was given.

    Args:
        name: name of the data.
        parts: the given splits by ``train``, ``validation``, ``test``.
        classes: number of classes.
        seed: moves the border between train and validation.
        arranged: reorders the training pixels.

    Raises:
        ValueError: too few training examples to hold out a test split.
    """
    empty = next(iter(parts.values())).first(0)
    whole, splits = parts.get(TRAIN, empty), {VALIDATION: empty, TEST: empty, **parts}
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
        train=splits.get(TRAIN, empty),
        validation=splits[VALIDATION],
        test=splits[TEST],
        classes=classes,
    )


def lone(name: str) -> str:
    """The split of a data set's only file: test if its name ends in "test", else train."""
    return TEST if name.lower().endswith("test") else TRAIN


def _held_out(y: Labels, rows: Tensor, count: int, *place: int | str) -> tuple[Tensor, Tensor]:
    """Split ascending ``rows`` into those that stay, which ascend, and ``count`` that leave."""
    order = stratified(y[rows], *place)
    return rows[order[count:].sort().values], rows[order[:count]]


def _parted(whole: Examples, rows: Mapping[str, Tensor], arranged: Arranged) -> dict[str, Examples]:
    """The examples of each part, training first, as contiguous slices of one tensor."""
    order = torch.cat(list(rows.values()))
    x = arranged(whole.x, order, len(rows[TRAIN]))
    sizes = [len(part) for part in rows.values()]
    each = zip(rows, torch.split(x, sizes), torch.split(whole.y[order], sizes), strict=True)
    return {name: Examples(pixels, y) for name, pixels, y in each}
