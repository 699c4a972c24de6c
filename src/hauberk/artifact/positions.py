"""Code the positions of the non-zeros in about bits(labels) + Σ_ab N_ab · H(k_ab / N_ab) bits.

The tensor is viewed as a matrix. Rows are grouped into classes a and columns into classes b by
density; an empty row or column costs its label only. Each block (a, b) is one run of N_ab cells
with k_ab ones, coded by the gaps between them. The view and the classes minimise the total length
(minimum description length, Rissanen, 1978).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hauberk.artifact.ans import DamagedStream, Reader, Writer

Index = NDArray[np.int64]
_Labels = NDArray[np.uint8]

_VIEW_BITS = 3
_CLASS_BITS = 3
_DEPTH = 3
"""Recursion depth of the splits into classes: at most 2**3 classes."""
_CLASS_COST = 40.0
"""Overhead of one more class in bits: its block counts and learning the label's frequency."""


@dataclass(frozen=True)
class _Layout:
    """The axis that splits rows from columns, and the classes of both.

    In the stream view 0 stands for one run without classes.
    """

    view: int
    rows: _Labels
    columns: _Labels

    @property
    def classes(self) -> tuple[int, int]:
        return int(self.rows.max()) + 1, int(self.columns.max()) + 1

    def blocks(self) -> Iterator[tuple[Index, Index]]:
        """Row and column indices of each block, in order."""
        high, wide = self.classes
        columns = [np.flatnonzero(self.columns == b) for b in range(wide)]
        for a in range(high):
            rows = np.flatnonzero(self.rows == a)
            for b in range(wide):
                yield rows, columns[b]


def write(out: Writer, index: Index, shape: tuple[int, ...]) -> NDArray[np.intp] | slice:
    """Code the positions of the non-zeros of a tensor.

    Args:
        out: the stream to append to.
        index: flat positions in ascending order, (count,).
        shape: shape of the tensor.

    Returns:
        the order in which a reader returns the positions.
    """
    cells = int(np.prod(shape, dtype=np.int64))
    layout, _ = _choose(index, shape, cells)
    out.number(0 if layout is None else layout.view, _VIEW_BITS)
    if layout is None:
        _write_run(out, index, cells)
        return slice(None)
    for labels, size in zip((layout.rows, layout.columns), layout.classes, strict=True):
        out.number(size - 1, _CLASS_BITS)
        out.symbols(labels, size)
    return _write_blocks(out, layout, index)


def cost_bits(index: Index, shape: tuple[int, ...]) -> float:
    """Estimate the bits that `write` takes, to within 1% and a few bytes, from counts alone.

    Args:
        index: flat positions in any order, (count,).
        shape: shape of the tensor.
    """
    return _VIEW_BITS + _choose(index, shape, int(np.prod(shape, dtype=np.int64)))[1]


def run_bits(ones: NDArray[np.float64], cells: int) -> NDArray[np.float64]:
    """``N · H(k / N)`` plus the bits of k, for each k in ``ones``: the cost of a single run."""
    return _run_bits(ones, np.full(len(ones), cells))


def read(source: Reader, shape: tuple[int, ...]) -> Index | None:
    """Read the flat positions that `write` coded.

    Returns:
        positions in the order that `write` returned; None if no element is zero.

    Raises:
        DamagedStream: the positions do not fit the shape.
    """
    cells = int(np.prod(shape, dtype=np.int64))
    view = source.number(_VIEW_BITS)
    if not view:
        ones = _read_count(source, cells)
        return None if ones == cells else _read_gaps(source, ones, cells)
    if view >= len(shape) or not cells:
        raise DamagedStream
    rows, columns = _sides(shape, view)
    layout = _Layout(view, _read_labels(source, rows), _read_labels(source, columns))
    found = []
    for high, wide in layout.blocks():
        size = len(high) * len(wide)
        run = _read_gaps(source, _read_count(source, size), size)
        if len(run):
            row, column = np.divmod(run, len(wide))
            found.append(high[row] * columns + wide[column])
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def _write_blocks(out: Writer, layout: _Layout, index: Index) -> NDArray[np.intp]:
    row, column = np.divmod(index, len(layout.columns))
    wide = layout.classes[1]
    block = layout.rows[row] * np.uint8(wide) + layout.columns[column]
    order = np.argsort(block, kind="stable")  # stable: row by row inside a block
    ends = np.cumsum(np.bincount(block, minlength=layout.classes[0] * wide))
    row_rank, column_rank = _ranks(layout.rows), _ranks(layout.columns)
    for number, (rows, columns) in enumerate(layout.blocks()):
        part = order[ends[number - 1] if number else 0 : ends[number]]
        run = row_rank[row[part]] * len(columns) + column_rank[column[part]]
        _write_run(out, run, len(rows) * len(columns))
    return order


def _write_run(out: Writer, index: Index, cells: int) -> None:
    """Code a run with ones at ``index`` by the gaps between its ones or zeros, if rarer."""
    out.number(len(index), cells.bit_length())
    rare = _complement(index, cells) if 2 * len(index) > cells else index
    if len(rare):
        out.gaps(np.diff(rare, prepend=-1) - 1, len(rare), cells)


def _read_count(source: Reader, cells: int) -> int:
    ones = source.number(cells.bit_length())
    if ones > cells:
        raise DamagedStream
    return ones


def _read_gaps(source: Reader, ones: int, cells: int) -> Index:
    count = min(ones, cells - ones)
    if not count:
        return np.arange(ones, dtype=np.int64)
    gaps = source.gaps(count, cells)
    if int(gaps.max()) >= cells:
        raise DamagedStream
    rare = np.cumsum(gaps + 1) - 1
    if rare[-1] >= cells:
        raise DamagedStream
    return _complement(rare, cells) if 2 * ones > cells else rare


def _read_labels(source: Reader, count: int) -> _Labels:
    size = source.number(_CLASS_BITS) + 1
    return source.symbols(count, size).astype(np.uint8)


def _complement(index: Index, cells: int) -> Index:
    other = np.ones(cells, dtype=bool)
    other[index] = False
    return np.flatnonzero(other)


def _ranks(labels: _Labels) -> Index:
    """The rank of each line among the lines of its class."""
    ranks = np.empty(len(labels), dtype=np.int64)
    for label in range(int(labels.max()) + 1):
        members = np.flatnonzero(labels == label)
        ranks[members] = np.arange(len(members))
    return ranks


def _sides(shape: tuple[int, ...], view: int) -> tuple[int, int]:
    return int(np.prod(shape[:view])), int(np.prod(shape[view:]))


def _choose(index: Index, shape: tuple[int, ...], cells: int) -> tuple[_Layout | None, float]:
    """The layout with the least coded length, and its bits; None for a single run."""
    best, least = None, float(_run_bits(np.array([len(index)]), np.array([cells]))[0])
    if not 0 < len(index) < cells:
        return best, least
    for view in range(1, min(len(shape), 1 << _VIEW_BITS)):
        for layout, bits in _layouts(index, view, *_sides(shape, view)):
            if bits < least:
                best, least = layout, bits
    return best, least


def _layouts(index: Index, view: int, high: int, wide: int) -> Iterator[tuple[_Layout, float]]:
    row, column = np.divmod(index, wide)
    rows = _classes(np.bincount(row, minlength=high), wide)
    columns = _classes(np.bincount(column, minlength=wide), high)
    for layout in (
        _Layout(view, rows, np.zeros_like(columns)),
        _Layout(view, np.zeros_like(rows), columns),
        _Layout(view, rows, columns),
    ):
        a, b = layout.classes
        if a * b > 1:
            ones = np.bincount(
                layout.rows[row].astype(np.int64) * b + layout.columns[column], minlength=a * b
            )
            cells = np.outer(np.bincount(layout.rows), np.bincount(layout.columns)).ravel()
            labels = _label_bits(layout.rows) + _label_bits(layout.columns)
            yield layout, float(_run_bits(ones, cells).sum()) + labels


def _label_bits(labels: _Labels) -> float:
    counts = np.bincount(labels)
    learning = 0.5 * float(np.log2(len(labels) + 1)) * (len(counts) - 1)
    return float(_run_bits(counts, np.full_like(counts, len(labels))).sum()) / 2 + learning


def _classes(ones: Index, width: int) -> _Labels:
    """Class labels of lines with ``ones`` non-zeros in ``width`` cells; sparsest class first."""
    values, lines = np.unique(ones, return_counts=True)
    cuts = _cuts(values, lines, width, _DEPTH)
    return np.searchsorted(np.array(cuts, dtype=values.dtype), ones, side="right").astype(np.uint8)


def _cuts(values: Index, lines: Index, width: int, depth: int) -> list[int]:
    """Borders between classes: the split that saves most, then recursively on each side."""
    if depth == 0 or len(values) < 2:
        return []
    below, filled = np.cumsum(lines), np.cumsum(lines * values)
    above, rest = below[-1] - below[:-1], filled[-1] - filled[:-1]
    saved = _run_bits(filled[-1:], below[-1:] * width) - (
        _run_bits(filled[:-1], below[:-1] * width)
        + _run_bits(rest, above * width)
        + _run_bits(below[:-1], np.full_like(above, below[-1]))
    )
    cut = int(np.argmax(saved))
    if saved[cut] < _CLASS_COST:
        return []
    left = _cuts(values[: cut + 1], lines[: cut + 1], width, depth - 1)
    right = _cuts(values[cut + 1 :], lines[cut + 1 :], width, depth - 1)
    return [*left, int(values[cut + 1]), *right]


def _run_bits(ones: NDArray[Any], cells: Index) -> NDArray[np.float64]:
    """``N · H(k / N)`` plus the bits of k."""
    p = ones / np.maximum(cells, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = -p * np.log2(p) - (1 - p) * np.log2(1 - p)
    return np.nan_to_num(each) * cells + np.log2(cells + 1)
