"""Draw a sheet of pictures: input, dense net, small net and their difference, one row an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from hauberk.artifact.artifact import dense_bytes
from hauberk.dataset import Examples
from hauberk.evaluation.frozen_copy import freeze
from hauberk.evaluation.image_distances import CAP_DB, Pictures, distances
from hauberk.evaluation.image_pairs import check_alike, outputs
from hauberk.evaluation.shipped import Shipped
from hauberk.plots.tiles import Caption, cell, check_path, page, scaled, width
from hauberk.runtime.files import write

_MOST_ROWS = 6
_TIMES = 4
"""Factor by which differences are multiplied: what compression changes is hard to see else."""
_CELL, _LARGEST = 192, 256
"""Longer side of an image in the picture, in pixels: smaller images are enlarged up to ``_CELL``,
larger ones are reduced to ``_LARGEST``."""
_GAP, _MARGIN, _LINE = 8, 16, 22


def drawn(shape: tuple[int, ...]) -> bool:
    """Whether images can be drawn: gray and RGB ones can.

    Args:
        shape: of an image, (channel, height, width).
    """
    return shape[0] in (1, 3)


def draw(small: Shipped, dense: nn.Module, examples: Examples, path: Path) -> None:
    """Draw what both nets make of the first six images as a PNG.

    The difference is the absolute one, times 4: black where both nets agree. Each row has its PSNR.

    Args:
        small: the network under evaluation.
        dense: the dense net.
        examples: held-out images, gray or RGB.
        path: path of the PNG, which is written atomically.

    Raises:
        ValueError: the path does not end in .png, the nets do not take the images or give others
            than gray or RGB images, or differ in the shape of their images.
        OSError: the folder cannot be written.
    """
    check_path(path)
    x = examples.first(_MOST_ROWS).to("cpu").images()
    wanted, ours = (
        outputs(freeze(net).cpu(), x, who).clamp(0, 1)
        for net, who in ((dense, "The dense net"), (small.timed, small.name))
    )
    check_alike(ours, wanted, "The dense net", "give the dense net that it was made from")
    columns = {
        "input": x,
        f"dense net, {_size(dense_bytes(dense.state_dict()))}": wanted,
        f"small net, {_size(small.nbytes)}": ours,
        f"difference × {_TIMES}": (_TIMES * (ours - wanted).abs()).clamp(0, 1),
    }
    write(path, _png(columns, distances(ours, wanted)["psnr"]))


def _png(columns: dict[str, Pictures], decibels: NDArray[np.float64]) -> bytes:
    high, wide = cell(tuple(next(reversed(columns.values())).shape[1:]), _CELL, _LARGEST)
    step = max(wide, *map(width, columns)) + _GAP
    rows = len(decibels)
    grid = np.full((rows * (high + _GAP) - _GAP, 3 * step + wide, 3), 255, np.uint8)
    for place, images in enumerate(columns.values()):
        for row, tile in enumerate(scaled(_shown(images), (high, wide))):
            y, x = row * (high + _GAP), place * step
            grid[y : y + high, x : x + wide] = tile
    left, top = _MARGIN, _MARGIN + _LINE
    right = left + grid.shape[1] + _GAP
    captions = [
        Caption(head, left + place * step, _MARGIN + _LINE / 2 - 4)
        for place, head in enumerate(columns)
    ]
    notes = ["equal" if value >= CAP_DB else f"PSNR {value:.1f} dB" for value in decibels]
    captions += [
        Caption(note, right, top + row * (high + _GAP) + high / 2) for row, note in enumerate(notes)
    ]
    size = right + max(map(width, notes)) + _MARGIN, top + grid.shape[0] + _MARGIN
    return page(grid, (left, top), size, captions)


def _shown(images: Pictures) -> Pictures:
    """The images, if they can be drawn."""
    if not drawn(tuple(images.shape[1:])):
        shape = " × ".join(map(str, images.shape[1:]))
        raise ValueError(f"Images of {shape} cannot be drawn; leave out the picture.")
    return images


def _size(nbytes: int) -> str:
    """``45.6 MB``, ``980 kB`` or ``512 bytes``, to three digits."""
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if nbytes >= size:
            return f"{nbytes / size:.3g} {unit}"
    return f"{nbytes} bytes"
