"""Codes for sparse weights, and the two bit streams that hold them.

A code is ``(part << low) | bits``: a part with a frequency of ``counts / 256``, and ``low`` raw
bits. With one part the code has a fixed width.

    rans    x ← counts (x >> 8) + (x & 255) − cum      static rANS, 24-bit state, bytes
    fixed   low bits, least significant first

A zero run is a sequence of codes: the largest code is continued by the next one.

Source: Duda (2013), arXiv 1311.2540, §3 (range variant).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hauberk.microcontroller.graph import Integers

TOTAL_BITS = 8
_TOTAL = 1 << TOTAL_BITS
_LEAST_STATE = 1 << 16
_PARTS = (2, 4, 8, 12, 16, 24)
_GAP_BITS = range(8)
_LARGEST_BOOK_PARTS = 64


@dataclass(frozen=True)
class Table:
    """The frequencies of a code.

    Attributes:
        low: raw bits of a code.
        counts: frequency of each part, in 256ths; one part has a fixed width.
    """

    low: int
    counts: tuple[int, ...] = (_TOTAL,)

    @property
    def largest(self) -> int:
        """The largest code."""
        return (len(self.counts) << self.low) - 1

    @property
    def nbytes(self) -> int:
        """Bytes of the frequencies in flash."""
        return len(self.counts) if len(self.counts) > 1 else 0

    def bits(self, seen: Integers) -> float:
        """Length in bits of codes of which each part was ``seen`` so often."""
        lengths = TOTAL_BITS + self.low - np.log2(np.array(self.counts))
        return float(seen @ lengths)


class Coded(NamedTuple):
    """One code and the table that it is coded by."""

    table: Table
    code: int


def table_of(seen: Integers, low: int) -> Table:
    """The table that codes the parts shortest.

    Args:
        seen: how often each part occurs.
        low: raw bits of a code.
    """
    if len(seen) == 1:
        return Table(low)
    often = seen.astype(np.float64)
    counts = np.maximum(1, np.floor(often / max(often.sum(), 1) * _TOTAL)).astype(np.int64)
    while (rest := _TOTAL - int(counts.sum())) != 0:
        # the part whose length gains most from one more, or loses least by one less
        gain = often / np.maximum(counts - (rest < 0), 0.5)
        gain[(counts == 1) & (rest < 0)] = np.inf
        counts[np.argmax(gain) if rest > 0 else np.argmin(gain)] += 1 if rest > 0 else -1
    return Table(low, tuple(int(n) for n in counts))


def run_parts(gaps: Integers, low: int, parts: int) -> Integers:
    """How often each part occurs in the codes of zero runs.

    Args:
        gaps: lengths of the runs.
        low: raw bits of a code.
        parts: number of parts.
    """
    lengths, often = np.unique(gaps, return_counts=True)
    times, rest = np.divmod(lengths, (parts << low) - 1)
    seen = np.bincount(rest >> low, often, minlength=parts).astype(np.int64)
    seen[-1] += int(times @ often)
    return seen


def gap_table(gaps: Integers, fixed: bool) -> Table:
    """The table for zero runs of the fewest bytes.

    Args:
        gaps: lengths of the runs.
        fixed: whether codes have a fixed width.
    """
    shapes = [(low, 1) for low in range(1, 13)]
    if not fixed:
        shapes += [(low, parts) for low in _GAP_BITS for parts in _PARTS]
    found = []
    for low, parts in shapes:
        seen = run_parts(gaps, low, parts)
        table = table_of(seen, low)
        found.append((table.bits(seen) / 8 + table.nbytes, low, table))
    return min(found, key=lambda entry: entry[:2])[2]


def value_parts(codes: Integers, table: Table) -> Integers:
    """How often each part of a table occurs in the codes of values."""
    return np.bincount(codes >> table.low, minlength=len(table.counts))


def value_table(codes: Integers, size: int, fixed: bool) -> Table:
    """The table for values of the fewest bytes.

    Args:
        codes: indices of the values, frequent ones first.
        size: number of different values.
        fixed: whether codes have a fixed width.
    """
    width = max(size - 1, 0).bit_length()
    tables = [Table(width)]
    for low in range(0 if fixed else width):
        parts = -(-size // (1 << low))
        if 1 < parts <= _LARGEST_BOOK_PARTS:
            tables.append(table_of(np.bincount(codes >> low, minlength=parts), low))
    return min(tables, key=lambda t: t.bits(value_parts(codes, t)) / 8 + t.nbytes)


def rans(stream: Sequence[Coded]) -> bytes:
    """The codes as bytes that the decoder of ``kernel.c`` reads in order."""
    state, out = _LEAST_STATE, bytearray()

    def shrink(limit: int) -> None:
        nonlocal state
        while state >= limit:
            out.append(state & 255)
            state >>= 8

    for item in reversed(stream):
        table, code = item.table, item.code
        shrink(_LEAST_STATE << 8 >> table.low)
        state = state << table.low | code & ((1 << table.low) - 1)
        if len(table.counts) > 1:
            part = code >> table.low
            count, below = table.counts[part], sum(table.counts[:part])
            shrink(count << 16)
            state = (state // count << TOTAL_BITS) + state % count + below
    out += bytes([state & 255, state >> 8 & 255, state >> 16])
    return bytes(reversed(out))


def fixed(stream: Iterable[Coded]) -> bytes:
    """The codes at a fixed width, least significant bit first."""
    out, held, count = bytearray(), 0, 0
    for item in stream:
        held |= item.code << count
        count += item.table.low
        while count >= 8:
            out.append(held & 255)
            held, count = held >> 8, count - 8
    return bytes(out) + (bytes([held]) if count else b"")
