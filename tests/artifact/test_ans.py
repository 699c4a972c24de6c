"""The entropy coder: its stream is the documented one, and a short stream is refused early."""

from __future__ import annotations

import numpy as np
import pytest

from hauberk.artifact.ans import DamagedStream, Reader, Writer


def test_the_stream_follows_the_arithmetic_of_the_documentation() -> None:
    """A decoder in plain integers, as docs/format.md gives it, reads what the library wrote."""
    out, symbols = Writer(), np.array([0, 1, 1, 2, 0, 1] * 20)
    out.number(77, 20)
    out.symbols(symbols, 3)
    out.gaps(np.array([3, 700, 0, 12]), 4, 1000)
    source = _PlainReader(out.to_bytes())
    assert source.take([1] * 65536) + (source.take([1] * 16) << 16) == 77
    prior, seen, got, block = 4 ** source.take([1] * 8), [0, 0, 0], [], 32
    while len(got) < 120:
        table = [16 * n + prior for n in seen]
        part = [source.take(table) for _ in range(min(block, 120 - len(got)))]
        seen = [n + part.count(s) for s, n in enumerate(seen)]
        got += part
        block = max(32, len(got) // 2)
    assert got == symbols.tolist()
    assert source.take([1] * 8) == 2
    theta, gaps = (1000 - 4) * 2**40 // 1000, [0] * 4
    for place in range(2):
        powers = [2**40]
        for _ in range(256):
            powers.append(powers[-1] * theta >> 40)
        theta = powers.pop()
        gaps = [g + (source.take([p + 1 for p in powers]) << 8 * place) for g in gaps]
    assert gaps == [3, 700, 0, 12]
    assert source.state == 0


class _PlainReader:
    def __init__(self, stream: bytes) -> None:
        self.words = np.frombuffer(stream, "<u4").tolist()
        self.state = 0
        while self.words and self.state < 2**32:
            self.state = self.state << 32 | self.words.pop()

    def take(self, table: list[int]) -> int:
        size, total, edges = len(table), sum(table), [0]
        for n in table[:-1]:
            edges.append(edges[-1] + n)
        scale = (2**24 - size) / total
        edges = [int(edge * scale) + i for i, edge in enumerate(edges)] + [2**24]
        if len(set(table)) == 1:  # uniform
            edges = [i * (2**24 // size) for i in range(size)] + [2**24]
        low = self.state % 2**24
        symbol = next(i for i in range(size) if low < edges[i + 1])
        self.state = (self.state >> 24) * (edges[symbol + 1] - edges[symbol]) + low - edges[symbol]
        if self.state < 2**32 and self.words:
            self.state = self.state << 32 | self.words.pop()
        return symbol


def test_numbers_that_the_stream_does_not_hold_are_refused_before_allocation() -> None:
    out = Writer()
    out.number(5, 8)
    with pytest.raises(DamagedStream):
        Reader(out.to_bytes()).bits(2**50, 23)
    with pytest.raises(DamagedStream):
        Reader(out.to_bytes()).gaps(2**50, 2**51)
