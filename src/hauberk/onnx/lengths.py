"""Lengths of weights in an ONNX file: of the shortest form that `hauberk.onnx.compact` finds.

    dense      n values, in full or half precision, or n codes and a codebook
    sparse     E steps from one kept weight to the next, and E values or codes and a codebook

``bits`` is exact but for the names of the graph, ``price`` an estimate for many plans at once. E is
the number of kept weights, and of the steps that are longer than the largest number of a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hauberk.onnx.compact import GAP_BITS, gaps_of, half_of

_Table: TypeAlias = NDArray[np.float64]

_CODED_NODES, _SPARSE_NODES = 120, 330
"""Bytes of the nodes, names and shapes of the two forms that are rebuilt."""


def bits(t: Tensor, half: bool | None = None) -> float:
    """The length of a tensor, in bits.

    Args:
        t: floating point, of any shape.
        half: whether half precision holds its values; None looks at them.
    """
    flat = t.detach().cpu().float().numpy().ravel()
    places = flat.nonzero()[0]
    steps = [len(gaps_of(places, (1 << b) - 1)) if len(places) else 0 for b in GAP_BITS]
    values = np.unique(flat[places])
    half = half_of(values) is not None if half is None else half
    return float(_least(len(flat), np.array([steps]), np.array([len(values)]), half)[0, 0])


def price(size: int, keep_counts: Sequence[int], values: Sequence[int], half: bool) -> _Table:
    """Estimate `bits` of a tensor with K weights at random places in m values, for each K and m.

    Args:
        size: number of its weights.
        keep_counts: each K.
        values: each m.
        half: whether half precision holds the values.

    Returns:
        lengths in bits, (number of K, number of m).
    """
    counts = np.minimum(np.asarray(keep_counts, np.float64), size)
    gone = 1 - counts / max(size, 1)
    steps = np.stack([counts / (1 - gone ** ((1 << b) - 1) + 1e-12) for b in GAP_BITS], axis=1)
    most = np.minimum(np.asarray(values)[None, :], np.maximum(counts, 1)[:, None])
    return np.concatenate([_least(size, steps, column, half) for column in most.T], axis=1)


def _least(size: int, steps: _Table, values: _Table, half: bool) -> _Table:
    """The shortest form in bits, (rows, 1).

    Args:
        size: number of weights.
        steps: entries of the sparse form, (rows, one for each number of bits of a step).
        values: distinct non-zero values, (rows,).
        half: whether half precision holds them.
    """
    each = 2.0 if half else 4.0
    book, code = each * values + _CODED_NODES, _code_bytes(values)
    zero = steps[:, -1] < size - 0.5  # a dense form has a code for it
    dense = np.minimum(each * size, size * _code_bytes(values + zero) + book + each * zero)
    found = [dense]
    for place, gap_bits in enumerate(GAP_BITS):
        count = steps[:, place]
        # the sparse form always codes its values if it can
        named = np.where(np.isfinite(code), count * code + book, each * count)
        found.append(count * gap_bits / 8 + named + _SPARSE_NODES)
    shortest: _Table = 8 * np.min(found, axis=0)[:, None]
    return shortest


def _code_bytes(values: _Table) -> _Table:
    """Bytes of a code of so many values; without end for more than 65,536."""
    found: _Table = np.select(
        [values <= 1 << b for b in GAP_BITS], [b / 8 for b in GAP_BITS], np.inf
    )
    return found
