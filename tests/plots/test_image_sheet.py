"""The sheet of pictures: what both nets make of the same images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from hauberk.dataset import Examples
from hauberk.evaluation import Shipped
from hauberk.plots.image_sheet import draw


class Shift(nn.Module):
    """The input, brighter."""

    def __init__(self, by: float, channels: int = 3) -> None:
        super().__init__()
        self.by, self.channels = by, channels

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.by).repeat(1, self.channels // x.shape[1], 1, 1)


def flat(count: int = 2, channels: int = 3) -> Examples:
    return Examples(torch.full((count, channels, 8, 8), 0.4), torch.zeros(count, dtype=torch.int64))


def drawn(small: nn.Module, dense: nn.Module, examples: Examples, path: Path) -> np.ndarray:
    draw(Shipped("small.hbk", 5_200, 10_000, small), dense, examples, path)
    return np.asarray(Image.open(path).convert("RGB"))


def tiles(sheet: np.ndarray) -> list[int]:
    """The grey of each tile of the first row, from the left."""
    row = sheet[38 + 96]
    found = [int(row[16 + place * 200 + 96, 0]) for place in range(4)]
    assert all((row[16 + place * 200 + 96] == found[place]).all() for place in range(4))
    return found


def test_the_columns_are_input_dense_small_and_four_times_the_difference(tmp_path: Path) -> None:
    sheet = drawn(Shift(0.2), Shift(0.1), flat(), tmp_path / "sheet.png")
    assert tiles(sheet) == [102, 128, 153, 102]  # 0.4, 0.5, 0.6 and 4 × 0.1, of 255
    assert not list(tmp_path.glob(".*"))


def test_at_most_six_images_and_grey_ones_too(tmp_path: Path) -> None:
    seven, six, two = (
        drawn(Shift(0, 3), Shift(0, 3), flat(n, 1), tmp_path / "sheet.png") for n in (7, 6, 2)
    )
    assert seven.shape == six.shape and two.shape[0] == six.shape[0] - 4 * 200
    assert tiles(two) == [102, 102, 102, 0]


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.png"):
        drawn(Shift(0), Shift(0), flat(), tmp_path / "sheet.jpg")
    with pytest.raises(ValueError, match="The dense net has images of 6 × 8 × 8"):
        drawn(Shift(0), Shift(0, 6), flat(), tmp_path / "sheet.png")
    with pytest.raises(ValueError, match="Images of 6 × 8 × 8 cannot be drawn"):
        drawn(Shift(0, 6), Shift(0, 6), flat(), tmp_path / "sheet.png")
    assert not list(tmp_path.iterdir())
