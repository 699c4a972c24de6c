"""Augmentation on the device, a whole batch at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from hauberk.ops.random import uniform_like
from hauberk.types import Images


@dataclass(frozen=True)
class Shift:
    """A move of each image of a batch, by −pixels … pixels rows and columns.

    Attributes:
        moves: (2, batch), rows and columns, each in 0 … 2 · pixels; the middle moves nothing.
        pixels: the largest move.
    """

    moves: Int[Tensor, "2 batch"]
    pixels: int

    @classmethod
    def draw(cls, x: Images, pixels: int, rng: torch.Generator) -> Shift:
        """Every move alike, for the images ``x``."""
        sides = uniform_like(x.new_empty(2, len(x), dtype=torch.float32), rng) * (2 * pixels + 1)
        return cls(sides.long(), pixels)

    def __call__(self, x: Images) -> Images:
        """``x``, (batch, channel, height, width), moved; zero where nothing was."""
        count, _, height, width = x.shape
        rows = self.moves[0][:, None] + torch.arange(height, device=x.device)
        columns = self.moves[1][:, None] + torch.arange(width, device=x.device)
        padded = F.pad(x, (self.pixels,) * 4).permute(0, 2, 3, 1)
        which = torch.arange(count, device=x.device)[:, None, None]
        return padded[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    def back(self) -> Shift:
        """The move that undoes this one, but for what left the image."""
        return Shift(2 * self.pixels - self.moves, self.pixels)
