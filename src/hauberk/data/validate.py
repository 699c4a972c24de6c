"""Validation of pixels and labels: each fault is a one-line error."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hauberk.dataset import Examples

_MANY = 255  # the label that often means "ignore"; from here on gaps are taken for a mistake
_CLASSES = 65536  # a larger label is an identifier or damage; tables by class would fill memory


def examples(x: NDArray[Any] | Tensor, y: NDArray[Any], where: str) -> Examples:
    """Check arrays and return `Examples`: uint8 or float32, (count, channel, height, width).

    A tensor stays in its storage, in memory or in a mapped file.

    Args:
        x: uint8, or float in [0, 1]; (count, height, width) or (count, channel, height, width).
        y: one integer label of at least 0 for each image; (count,) or (count, 1).
        where: name of the data, for errors.

    Raises:
        ValueError: invalid labels or pixels, or different numbers of them.
    """
    y = column(y)
    _check_labels(y, where)
    if len(x) != len(y):
        raise ValueError(
            f"{where} has {len(x)} images and {len(y)} labels: give one label for each image."
        )
    if len(x) == 0:
        raise ValueError(f"{where} is empty: give at least one image and its label.")
    return Examples(_tensor(x, where), torch.from_numpy(y.astype(np.int64)))


def class_count(parts: Sequence[Examples], declared: int | None, where: str) -> int:
    """The declared number of classes, else the highest label plus one.

    Args:
        parts: the splits to count in.
        declared: number of classes that the source declares; ``None`` if it declares none.
        where: name of the data, for errors.

    Raises:
        ValueError: fewer than two classes occur, a label exceeds the declared number, or most of
            many classes have no image.
    """
    seen = np.unique(np.concatenate([part.y.numpy() for part in parts]))
    highest = int(seen[-1])
    if len(seen) < 2:
        raise ValueError(
            f"{where} has examples of class {highest} only: give at least two classes."
        )
    if declared is None and highest >= _MANY and 2 * len(seen) <= highest:
        raise ValueError(
            f"{where} has the label {highest} but only {len(seen)} different ones: number classes "
            "from 0 without gaps, or leave out images of an ignored class."
        )
    if declared is not None and highest >= declared:
        raise ValueError(
            f"{where} has the label {highest} but declares {declared} classes: "
            f"labels run from 0 to {declared - 1}."
        )
    return highest + 1 if declared is None else declared


def column(y: NDArray[Any]) -> NDArray[Any]:
    """Labels of shape (count, 1), a table's column, as (count,); others as they are."""
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y


def _check_labels(y: NDArray[Any], where: str) -> None:
    if y.ndim != 1:
        scores = " (argmax(1) of scores or one-hot rows)" if y.ndim == 2 else ""
        raise ValueError(
            f"{where} has labels of shape {y.shape}: give one label for each image{scores}."
        )
    if y.dtype.kind not in "iu":
        floats = y.dtype.kind == "f" and y.size and bool((y == np.floor(y)).all())
        whole = floats or y.dtype.kind == "b"
        more = ", y.astype(int) here" if whole else ""
        raise ValueError(
            f"{where} has labels of type {y.dtype}: give class indices from 0{more}, or names as "
            "text."
        )
    if y.size and (y.min() < 0 or y.max() >= _CLASSES):
        bad = y.min() if y.min() < 0 else y.max()
        raise ValueError(
            f"{where} has the label {bad}: give class indices from 0 to {_CLASSES - 1}."
        )


def _tensor(x: NDArray[Any] | Tensor, where: str) -> Tensor:
    if not isinstance(x, Tensor):
        with warnings.catch_warnings():  # a user's read-only memory map; arrays are never written
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            return torch.from_numpy(_pixels(x, where))
    found = _pixels(x.numpy(), where)
    same = found.ctypes.data == x.data_ptr()
    return x.view(found.shape) if same else torch.from_numpy(found)


def _pixels(x: NDArray[Any], where: str) -> NDArray[Any]:
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise ValueError(
            f"{where} has pixels of type {x.dtype}: give uint8 (0 to 255) or float in [0, 1]."
        )
    x = _layout(x, where)
    if x.size == 0:
        raise ValueError(f"{where} has images of shape {x.shape[1:]}: give at least one pixel.")
    if x.dtype.kind == "f":
        # NaN fails both comparisons, so one test finds it and ±∞ too
        if not (x.min() >= 0 and x.max() <= 1):
            levels = x.min() >= 0 and 1 < x.max() <= 255
            more = ", x / 255 here" if levels else ""
            raise ValueError(
                f"{where} has pixels that are NaN or outside [0, 1]: "
                f"give uint8 (0 to 255) or float in [0, 1]{more}."
            )
        x = x.astype(np.float32, copy=False)
    return np.ascontiguousarray(x)


def _layout(x: NDArray[Any], where: str) -> NDArray[Any]:
    if x.ndim == 3:
        return x[:, None]
    channels = {1, 3, 4}
    last = x.ndim == 4 and x.shape[3] in channels and x.shape[1] not in channels
    if x.ndim != 4 or last:
        more = ", x.transpose(0, 3, 1, 2) here" if last else ""
        raise ValueError(
            f"{where} has images of shape {x.shape}: give (count, height, width) or "
            f"(count, channel, height, width){more}."
        )
    return x
