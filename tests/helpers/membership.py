"""Tests of membership in a set of weights that owe nothing to its projection."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hauberk.types import Weights


def at_most(keep: float, cut: Callable[[Tensor], Tensor]) -> Callable[[Weights], bool]:
    """At most this share of the groups, which ``cut`` lists as rows, is not zero."""

    def holds(w: Weights) -> bool:
        alive = torch.cat([(cut(t.flatten(1)) != 0).any(1) for t in w.values()])
        return int(alive.sum()) <= max(1, keep * len(alive))

    return holds


def distinct(values: int) -> Callable[[Weights], bool]:
    return lambda w: all(len(set(t[t != 0].tolist())) <= values for t in w.values())


def on_a_grid(levels: int, channels: bool) -> Callable[[Weights], bool]:
    """Whether some scale, tried from the largest weight's every possible share, explains a row."""

    def fits(row: Tensor, eps: float) -> bool:
        a = row.abs()
        if not a.any():
            return True
        ratios = a[:, None] * torch.arange(1, levels + 1) / a.max()
        off = (ratios - ratios.round()).abs() <= 4 * levels * eps
        return bool(off.all(0).any())

    def holds(w: Weights) -> bool:
        rows = [
            (row.double().cpu(), torch.finfo(t.dtype).eps)
            for t in w.values()
            for row in (t.flatten(1) if channels else t.reshape(1, -1))
        ]
        return all(fits(row, eps) for row, eps in rows)

    return holds


def eighths(w: Weights, channels: bool = False) -> Weights:
    return {n: torch.full((len(t) if channels else 1,), 0.125) for n, t in w.items()}


def in_eighths(levels: int) -> Callable[[Weights], bool]:
    def holds(w: Weights) -> bool:
        return all(
            (8 * t == (8 * t).round()).all() and (8 * t).abs().max() <= levels for t in w.values()
        )

    return holds


def low_rank(most: int) -> Callable[[Weights], bool]:
    def holds(w: Weights) -> bool:
        # the next singular value is the weights' own rounding
        spectra = [torch.linalg.svdvals(t.flatten(1).double()) for t in w.values()]
        eps = max(torch.finfo(t.dtype).eps for t in w.values())
        return all((s[most:] <= 8 * eps * s[0]).all() for s in spectra)

    return holds


def tiles(m: Tensor) -> Tensor:
    return m.unfold(0, 2, 2).unfold(1, 2, 2).reshape(-1, 4)


def two_of_four(w: Weights) -> bool:
    return all((t.reshape(-1, 4) != 0).sum(1).max() <= 2 for t in w.values())


def masks(w: Weights) -> Weights:
    return {n: (torch.arange(t.numel()).view(t.shape) % 3 > 0).to(t.device) for n, t in w.items()}


def tied(w: Weights) -> Weights:
    """The tree of the suite as one matrix, where its two tensors have equally many rows."""
    if len({len(t) for t in w.values()}) > 1:
        return w
    return {"all": torch.cat([w[n].flatten(1) for n in sorted(w)], 1)}
