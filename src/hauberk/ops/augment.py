"""Augmentation on the device, a whole batch at once."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from hauberk.ops.random import uniform_like
from hauberk.types import Images


def shifted(x: Images, pixels: int, rng: torch.Generator) -> Images:
    """Each image moved by −pixels … pixels rows and columns, black where nothing was.

    Args:
        x: (batch, channel, height, width).
        pixels: the largest move; 0 gives ``x`` itself.
        rng: source of the moves.
    """
    if not pixels:
        return x
    count, _, height, width = x.shape
    moves = (uniform_like(x.new_empty(2, count), rng) * (2 * pixels + 1)).long()
    rows = moves[0][:, None] + torch.arange(height, device=x.device)
    columns = moves[1][:, None] + torch.arange(width, device=x.device)
    padded = F.pad(x, (pixels, pixels, pixels, pixels)).permute(0, 2, 3, 1)
    which = torch.arange(count, device=x.device)[:, None, None]
    return padded[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
