"""Pictures made of tiles: images scaled to cells, texts next to them, placed by the pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from hauberk.plots import style
from hauberk.plots.style import INK
from hauberk.types import Images

FONT = "DejaVu Sans"
_POINTS, _DPI = 10, 100


@dataclass(frozen=True)
class Caption:
    """A line of text in a picture.

    Attributes:
        text: the line.
        x: of the place, in pixels from the left.
        y: of the middle of the line, in pixels from the top.
        side: the end of the text, or its middle, that is at ``x``.
    """

    text: str
    x: float
    y: float
    side: Literal["left", "center", "right"] = "left"


def page(
    grid: NDArray[np.uint8],
    corner: tuple[int, int],
    size: tuple[int, int],
    captions: Sequence[Caption],
) -> bytes:
    """A white picture with a grid of images and lines of text, as the bytes of a PNG.

    Args:
        grid: (height, width, 3).
        corner: left and top of the grid, in pixels.
        size: width and height of the picture, in pixels.
        captions: the lines.
    """
    wide, high = size
    left, top = corner
    figure = style.figure(wide / _DPI, high / _DPI, _DPI, fitted=False)
    figure.figimage(grid, left, high - top - grid.shape[0], origin="upper")
    look: dict[str, Any] = {
        "color": INK,
        "fontsize": _POINTS,
        "fontfamily": FONT,
        "parse_math": False,
        "va": "center_baseline",
    }
    for line in captions:
        figure.text(line.x / wide, 1 - line.y / high, line.text, ha=line.side, **look)
    return style.png(figure)


def width(text: str) -> int:
    """Width of ``text`` in the picture, in pixels."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font = FontProperties(family=FONT, size=_POINTS)
    points, _, _ = TextToPath().get_text_width_height_descent(text, font, ismath=False)
    return int(1.06 * points * _DPI / 72) + 1  # drawing moves letters to whole pixels


def cell(shape: tuple[int, ...], least: int, most: int) -> tuple[int, int]:
    """Height and width of an image in the picture: an integer multiple of its own, or reduced.

    Args:
        shape: of the image, (channel, height, width).
        least: pixels of the longer side up to which a small image is enlarged.
        most: pixels of the longer side to which a larger image is reduced.
    """
    longest = max(shape[1:])
    times = max(1, least // longest) if longest <= most else most / longest
    return tuple(max(1, round(side * times)) for side in shape[1:])  # type: ignore[return-value]


def scaled(x: Images, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resized images (count, height, width, channel); a pixel of a small image is a square.

    Args:
        x: images in [0, 1], (count, channel, height, width).
        size: height and width.
    """
    if not len(x):
        return np.empty((0, *size, 1), np.uint8)
    mode = "nearest" if size[0] >= x.shape[2] else "area"
    made = functional.interpolate(x, size, mode=mode)
    return (made * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def check_path(path: Path) -> None:
    """Check that a picture is to be written as PNG.

    Args:
        path: of the picture.

    Raises:
        ValueError: it does not end in .png.
    """
    if path.suffix.lower() != ".png":
        raise ValueError(f"The picture was given as {path}; give a path that ends in .png.")
