"""Groupings, as values: the entries of a weight that live or die together.

A weight is viewed as the matrix out × (in·k·k). Each group g has an inner set (a whole vector, or
at most n of m entries), and its score is ``‖P(w_g)‖₂``, the norm of its projection onto that set.
Keeping the groups of largest score is then the Euclidean projection onto "at most so many groups",
as ``‖w − w'‖² = ‖w‖² − Σ_{kept} ‖P(w_g)‖²``. Sources: Ye et al. 2019 (arXiv 1903.12561) for filters
and columns; Mishra et al. 2021 (arXiv 2104.08378) for n of m.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod
from typing import final

import torch
from torch import Tensor

from hauberk.ops.information import FLOAT_BITS, choice_bits


@dataclass(frozen=True)
class Split:
    """A weight's groups: a view, the axes that run inside a group, and how many entries may live.

    Attributes:
        view: the shape to view the weight in.
        inside: the axes of the view that lie inside one group (none: each entry is a group).
        at_most: entries of a group that may differ from zero.
    """

    view: tuple[int, ...]
    inside: tuple[int, ...]
    at_most: int

    @property
    def size(self) -> int:
        """Entries in one group."""
        return prod(self.view[axis] for axis in self.inside)

    @property
    def groups(self) -> int:
        """The number of groups of the weight."""
        return prod(n for axis, n in enumerate(self.view) if axis not in self.inside)

    @property
    def bits(self) -> float:
        """The bits of one living group: its free floats, and which entries they are."""
        return FLOAT_BITS * self.at_most + choice_bits(self.size, self.at_most)


class Grouping(ABC):
    """A pattern of groups; a new one is a new `split`."""

    @abstractmethod
    def split(self, shape: torch.Size) -> Split:
        """The groups of a weight of this shape.

        Raises:
            ValueError: where the pattern cannot take such a weight.
        """

    @final
    def scores(self, w: Tensor) -> Tensor:
        """``‖P(w_g)‖₂`` for each group, in an order that `expand` knows."""
        split = self.split(w.shape)
        magnitude = w.abs().reshape(split.view)
        if not split.inside:
            return magnitude
        magnitude = magnitude * _best(magnitude, split)
        # scaled by the group's peak: squares of tiny weights would vanish, and the group with them
        peak = magnitude.amax(split.inside, keepdim=True)
        scaled = magnitude / torch.where(peak > 0, peak, 1)
        return scaled.square().sum(split.inside).sqrt() * peak.amax(split.inside)

    @final
    def expand(self, alive: Tensor, w: Tensor) -> Tensor:
        """The entries of ``w`` that live when the groups ``alive`` do: a mask shaped like ``w``."""
        split = self.split(w.shape)
        for axis in sorted(split.inside):
            alive = alive.unsqueeze(axis)
        alive = alive.expand(split.view)
        if split.at_most < split.size:
            alive = alive & _best(w.abs().reshape(split.view), split)
        return alive.reshape(w.shape)


def _best(magnitude: Tensor, split: Split) -> Tensor:
    """The ``at_most`` largest entries of each group, the earlier of equal ones first."""
    if split.at_most >= split.size:
        return magnitude.new_ones((), dtype=torch.bool)
    (axis,) = split.inside
    place = torch.arange(split.size, device=magnitude.device)
    place = place.view([-1 if a == axis else 1 for a in range(magnitude.ndim)])
    rank = torch.zeros_like(magnitude, dtype=torch.int16)
    for j in range(split.size):  # m passes over the weight beat a sort of its short runs
        other = magnitude.narrow(axis, j, 1)
        rank += (other > magnitude) | ((other == magnitude) & (place > j))
    return rank < split.at_most


def _matrix(shape: torch.Size, pattern: Grouping) -> tuple[int, int]:
    if len(shape) < 2:
        raise ValueError(
            f"a weight of shape {tuple(shape)} has no rows and columns for {pattern}: "
            "give it a matrix or a kernel, or prune it by Weight()"
        )
    return shape[0], shape[1:].numel()


def _positive(pattern: Grouping, *numbers: int) -> None:
    if min(numbers) < 1:
        raise ValueError(f"{pattern} is no pattern: all its numbers must be at least 1, raise them")


@dataclass(frozen=True)
class Weight(Grouping):
    """Every entry on its own: irregular sparsity."""

    def split(self, shape: torch.Size) -> Split:
        """n groups of one entry."""
        return Split((shape.numel(),), (), 1)


@dataclass(frozen=True)
class Filter(Grouping):
    """A row of the out × (in·k·k) matrix: one output channel or unit."""

    def split(self, shape: torch.Size) -> Split:
        """One group for each row."""
        rows, columns = _matrix(shape, self)
        return Split((rows, columns), (1,), columns)


@dataclass(frozen=True)
class Column(Grouping):
    """A column of the out × (in·k·k) matrix: one kernel position of one input channel."""

    def split(self, shape: torch.Size) -> Split:
        """One group for each column."""
        rows, columns = _matrix(shape, self)
        return Split((rows, columns), (0,), rows)


@dataclass(frozen=True)
class Channel(Grouping):
    """All entries that read one input channel."""

    def split(self, shape: torch.Size) -> Split:
        """One group for each input channel."""
        rows, columns = _matrix(shape, self)
        kernel = columns // shape[1] if shape[1] else 1
        return Split((rows, shape[1], kernel), (0, 2), rows * kernel)


@dataclass(frozen=True)
class Block(Grouping):
    """A tile of ``rows`` × ``columns`` entries of the out × (in·k·k) matrix."""

    rows: int
    columns: int

    def __post_init__(self) -> None:
        _positive(self, self.rows, self.columns)

    def split(self, shape: torch.Size) -> Split:
        """One group for each tile; the tiles must fill the matrix.

        Raises:
            ValueError: they do not.
        """
        rows, columns = _matrix(shape, self)
        if rows % self.rows or columns % self.columns:
            raise ValueError(
                f"a {rows} × {columns} weight does not divide into tiles of {self.rows} × "
                f"{self.columns}: choose a tile that divides it, or leave the layer out"
            )
        view = (rows // self.rows, self.rows, columns // self.columns, self.columns)
        return Split(view, (1, 3), self.rows * self.columns)


@dataclass(frozen=True)
class NofM(Grouping):
    """Runs of ``m`` entries along the input axis, of which at most ``n`` may differ from zero."""

    n: int
    m: int

    def __post_init__(self) -> None:
        _positive(self, self.n, self.m)
        if self.n > self.m:
            raise ValueError(f"{self} keeps more entries than a run has: n must be at most m")

    def split(self, shape: torch.Size) -> Split:
        """One group for each run; the runs must fill the rows.

        Raises:
            ValueError: they do not.
        """
        rows, columns = _matrix(shape, self)
        if columns % self.m:
            raise ValueError(
                f"rows of {columns} entries do not divide into runs of {self.m}: "
                "choose an m that divides them, or leave the layer out"
            )
        return Split((rows, columns // self.m, self.m), (2,), self.n)
