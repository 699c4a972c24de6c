"""Whole multiples of one number: rounding to ``s q``, and finding the s that made a row.

    rounded  q = min(⌊|a| / s + ½⌋, L) · sign a
    common   max s  s.t.  a = s q,  q whole,  |q| ≤ L      (so the q have no common factor)

The largest of a row is ``s m`` for one of m = 1 … L: each is tried on a few entries, and what they
do not rule out on all of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

_FEW = 16  # entries of a row that rule out nearly every m
_CHUNK = 512  # of the m that are tried at once
_CHANCE = 0.02  # largest distance from a whole number that still distinguishes a grid from chance


def rounded(rows: Tensor, scale: Tensor, levels: int) -> Tensor:
    """``argmin_q |row − s q|``, |q| ≤ ``levels``; ties away from zero, zeros where the scale is 0.

    Args:
        rows: (rows, n).
        scale: (rows,), 0 or more.
        levels: L.
    """
    held = torch.where(scale > 0, scale, 1.0)[:, None]
    size = (rows.abs() / held + 0.5).floor().clamp(max=levels)
    return torch.where(scale[:, None] > 0, size * rows.sign(), 0.0)


@torch.no_grad()
def common(rows: Tensor, levels: int, slack: float) -> Tensor:
    """The largest s of each row (rows, n) that is ``s q``, |q| ≤ ``levels``; 0 where none is.

    Args:
        rows: in float64.
        levels: L; where ``slack`` is so large that chance would do, fewer are tried.
        slack: how far an entry may be off, relative to itself.
    """
    sizes, scale = rows.abs(), rows.new_zeros(len(rows))
    if rows.shape[1] == 0:
        return scale
    few = sizes.topk(min(_FEW, rows.shape[1]), dim=1).values
    open_ = few[:, 0] > 0
    most = min(levels, int(_CHANCE / slack))
    for start in range(1, most + 1, _CHUNK):
        tried = torch.arange(start, min(start + _CHUNK, most + 1), device=rows.device)
        for row, m in _unruled(few, open_, tried.to(rows.dtype), slack):
            if open_[row] and _on(sizes[row], few[row, 0] / m, slack):
                scale[row], open_[row] = few[row, 0] / m, False
    return scale


def _unruled(few: Tensor, open_: Tensor, tried: Tensor, slack: float) -> list[tuple[int, float]]:
    """The pairs of a row and an m, ascending, that the largest entries do not rule out."""
    where = open_.nonzero()[:, 0]
    near = _on(few[where][:, None, :], few[where, :1] / tried, slack)
    return [(int(where[row]), float(tried[place])) for row, place in near.nonzero().tolist()]


def _on(sizes: Tensor, scale: Tensor, slack: float) -> Tensor:
    """Whether all of the last axis are multiples of the scale."""
    scale = scale[..., None]
    return ((sizes - (sizes / scale).round() * scale).abs() <= slack * sizes).all(-1)
