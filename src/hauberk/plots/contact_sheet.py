"""Draw a contact sheet of a data set: some images of each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hauberk.dataset import Data
from hauberk.plots.tiles import FONT, Caption, cell, check_path, page, scaled, width
from hauberk.printable import printable
from hauberk.runtime.files import write

_MOST_ROWS = 50
"""Limit on the classes drawn, which keeps the picture from becoming too tall."""


_CELL, _LARGEST = 64, 128
"""Size of an image in the picture, in pixels: smaller images are enlarged up to ``_CELL``; larger
ones than ``_LARGEST`` are reduced to it."""


_GAP, _MARGIN = 4, 16


_LONGEST_NAME = 28


def draw(data: Data, path: Path, each: int = 10) -> None:
    """Draw the first images of each class as a PNG, one row per class with its name.

    The images come from the training split, or from the test split if the data have no training
    split.

    Args:
        data: the data set.
        path: path of the PNG, which is written atomically.
        each: number of images of a class.

    Raises:
        ValueError: the path does not end in .png, ``each`` is below 1, or the inputs are not gray
            or RGB images.
        OSError: the folder cannot be written.
    """
    check_path(path)
    if each < 1:
        raise ValueError(f"each was given as {each}; give 1 or more.")
    if len(data.shape) != 3 or data.shape[0] not in (1, 3):
        shape = " × ".join(map(str, data.shape))
        raise ValueError(f"The inputs of {data.name} are {shape}; give images, gray or RGB.")
    write(path, _png(data, each))


def class_name(data: Data, k: int) -> str:
    """The name of class ``k``; its index if the data have no class names."""
    return data.labels[k] if data.labels else str(k)


def _png(data: Data, each: int) -> bytes:
    rows = min(data.classes, _MOST_ROWS)
    grid, high = _grid(data, rows, each)
    names = [_written(class_name(data, k), f"class {k}") for k in range(rows)]
    title = _title(data, rows)
    left, top = _MARGIN + 10 + max(map(width, names)), 3 * _MARGIN
    wide = max(left + grid.shape[1], _MARGIN + width(title)) + _MARGIN
    captions = [Caption(title, _MARGIN, 1.5 * _MARGIN)]
    captions += [
        Caption(name, left - 10, top + k * (high + _GAP) + high / 2, "right")
        for k, name in enumerate(names)
    ]
    return page(grid, (left, top), (wide, top + grid.shape[0] + _MARGIN), captions)


def _title(data: Data, rows: int) -> str:
    shown = f"{rows} of {data.classes:,}" if rows < data.classes else str(data.classes)
    return f"{_written(data.name, 'data')}: {shown} classes"


def _written(name: str, otherwise: str) -> str:
    """The name, shortened if it is long; ``otherwise`` if the font lacks one of its letters."""
    name = printable(name)
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont(FONT)).get_charmap()
    if not all(ord(letter) in known for letter in name):
        return otherwise
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _grid(data: Data, rows: int, each: int) -> tuple[NDArray[np.uint8], int]:
    """The grid of images, white where one is missing, and the height of a row in pixels."""
    part = data.train if len(data.train) else data.test
    high, wide = cell(data.shape, _CELL, _LARGEST)
    grid = np.full((rows * (high + _GAP) - _GAP, each * (wide + _GAP) - _GAP, 3), 255, np.uint8)
    for k in range(rows):
        chosen = (part.y == k).nonzero()[:each, 0]
        tiles = scaled(part.images(chosen), (high, wide))
        for column, tile in enumerate(tiles):
            y, x = k * (high + _GAP), column * (wide + _GAP)
            grid[y : y + high, x : x + wide] = tile
    return grid, high
