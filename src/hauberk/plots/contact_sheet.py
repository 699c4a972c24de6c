"""Draw a contact sheet of a data set: some images of each class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from hauberk.dataset import Data
from hauberk.plots import style
from hauberk.plots.style import INK
from hauberk.runtime.files import write
from hauberk.types import Images

_FONT, _POINTS, _DPI = "DejaVu Sans", 10, 100


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
    if path.suffix.lower() != ".png":
        raise ValueError(f"The picture was given as {path}; give a path that ends in .png.")
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
    grid, cell = _grid(data, rows, each)
    names = [_written(class_name(data, k), f"class {k}") for k in range(rows)]
    title = _title(data, rows)
    left, top = _MARGIN + 10 + max(map(_width, names)), 3 * _MARGIN
    wide = max(left + grid.shape[1], _MARGIN + _width(title)) + _MARGIN
    high = top + grid.shape[0] + _MARGIN
    figure = style.figure(wide / _DPI, high / _DPI, _DPI, fitted=False)
    figure.figimage(grid, left, _MARGIN, origin="upper")

    def put(text: str, x: float, y: float, side: str) -> None:
        """Write ``text`` at (x, y), in pixels from the upper left corner."""
        style: dict[str, Any] = {
            "color": INK,
            "fontsize": _POINTS,
            "fontfamily": _FONT,
            "parse_math": False,
        }
        figure.text(x / wide, 1 - y / high, text, ha=side, va="center_baseline", **style)

    put(title, _MARGIN, 1.5 * _MARGIN, "left")
    for k, name in enumerate(names):
        put(name, left - 10, top + k * (cell + _GAP) + cell / 2, "right")
    return style.png(figure)


def _title(data: Data, rows: int) -> str:
    shown = f"{rows} of {data.classes:,}" if rows < data.classes else str(data.classes)
    return f"{_written(data.name, 'data')}: {shown} classes"


def _written(name: str, otherwise: str) -> str:
    """The name, shortened if it is long; ``otherwise`` if the font lacks one of its letters."""
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont(_FONT)).get_charmap()
    if not all(ord(letter) in known for letter in name):
        return otherwise
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _width(text: str) -> int:
    """Width of ``text`` in the picture, in pixels."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font = FontProperties(family=_FONT, size=_POINTS)
    points, _, _ = TextToPath().get_text_width_height_descent(text, font, ismath=False)
    return int(1.06 * points * _DPI / 72) + 1  # drawing moves letters to whole pixels


def _grid(data: Data, rows: int, each: int) -> tuple[NDArray[np.uint8], int]:
    """The grid of images, white where one is missing, and the height of a row in pixels."""
    part = data.train if len(data.train) else data.test
    high, wide = _cell(data)
    grid = np.full((rows * (high + _GAP) - _GAP, each * (wide + _GAP) - _GAP, 3), 255, np.uint8)
    for k in range(rows):
        chosen = (part.y == k).nonzero()[:each, 0]
        tiles = _scaled(part.images(chosen), (high, wide))
        for column, tile in enumerate(tiles):
            y, x = k * (high + _GAP), column * (wide + _GAP)
            grid[y : y + high, x : x + wide] = tile
    return grid, high


def _cell(data: Data) -> tuple[int, int]:
    """Height and width of an image in the picture, in pixels: an integer multiple or reduced."""
    longest = max(data.shape[1:])
    times = max(1, _CELL // longest) if longest <= _LARGEST else _LARGEST / longest
    return tuple(max(1, round(side * times)) for side in data.shape[1:])  # type: ignore[return-value]


def _scaled(x: Images, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resized images (count, height, width, channel); a pixel of a small image is a square."""
    if not len(x):
        return np.empty((0, *size, 1), np.uint8)
    mode = "nearest" if size[0] >= x.shape[2] else "area"
    scaled = functional.interpolate(x, size, mode=mode)
    return (scaled * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
