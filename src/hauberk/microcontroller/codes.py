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

    def bits(self, codes: Integers) -> float:
        """Length of the codes in bits."""
        parts = np.bincount(codes >> self.low, minlength=len(self.counts))
        lengths = TOTAL_BITS - np.log2(np.array(self.counts))
        return float(parts @ lengths) + self.low * len(codes)


@dataclass(frozen=True)
class Coded:
    """One code and the table that it is coded by."""

    table: Table
    code: int


def table_of(codes: Integers, low: int, parts: int) -> Table:
    """The table of ``parts`` parts that codes the numbers shortest.

    Args:
        codes: numbers below ``parts << low``.
        low: raw bits of a code.
        parts: number of parts.
    """
    if parts == 1:
        return Table(low)
    seen = np.bincount(codes >> low, minlength=parts).astype(np.float64)
    counts = np.maximum(1, np.floor(seen / max(seen.sum(), 1) * _TOTAL)).astype(np.int64)
    while (rest := _TOTAL - int(counts.sum())) != 0:
        # the part whose length gains most from one more, or loses least by one less
        gain = seen / np.maximum(counts - (rest < 0), 0.5)
        gain[(counts == 1) & (rest < 0)] = np.inf
        counts[np.argmax(gain) if rest > 0 else np.argmin(gain)] += 1 if rest > 0 else -1
    return Table(low, tuple(int(n) for n in counts))


def split(gaps: Integers, largest: int) -> Integers:
    """Zero runs as codes: the largest code as often as it fits, then the rest."""
    times, rest = np.divmod(gaps, largest)
    codes: Integers = np.full(int((times + 1).sum()), largest, dtype=np.int64)
    codes[np.cumsum(times + 1) - 1] = rest
    return codes


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
        codes = split(gaps, (parts << low) - 1)
        table = table_of(codes, low, parts)
        found.append((table.bits(codes) / 8 + table.nbytes, low, table))
    return min(found, key=lambda entry: entry[:2])[2]


def value_table(codes: Integers, size: int, fixed: bool) -> Table:
    """The table for values of the fewest bytes.

    Args:
        codes: indices of the values, frequent ones first.
        size: number of different values.
        fixed: whether codes have a fixed width.
    """
    width = max(size - 1, 0).bit_length()
    tables = [Table(width)]
    if not fixed:
        shapes = [(low, -(-size // (1 << low))) for low in range(width)]
        tables += [table_of(codes, low, n) for low, n in shapes if 1 < n <= _LARGEST_BOOK_PARTS]
    return min(tables, key=lambda table: table.bits(codes) / 8 + table.nbytes)


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
