"""Entropy coder: one ANS stream for a whole file, of about Σ −log₂ p(symbol) bits.

Source: Duda et al., 2015 (asymmetric numeral systems), through the constriction library.
Departure: no probability table is stored. Symbols are coded in growing blocks, each with the
counts of the earlier blocks. Gaps between ones are coded with the geometric distribution of their
known density. All frequencies are integers below 2⁵³, so every machine derives the same tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import constriction
import numpy as np
from numpy.typing import NDArray

Integers: TypeAlias = NDArray[Any]
"""A one-dimensional array of any integer type."""

_Model: TypeAlias = "NDArray[np.float64] | int"
"""Symbol frequencies, or the size of a uniform alphabet."""

PRIORS = tuple(4**i for i in range(8))
"""Pseudo-counts of a symbol before it is seen, in units of 1/16."""
_PRIOR_BITS = 3
_CHUNK = 16
_DIGIT = 8
_DIGITS_BITS = 3
_ONE = 1 << 40
"""1.0 in the fixed-point numbers of the geometric distribution."""


class DamagedStream(Exception):
    """The coded numbers contradict each other."""


class Writer:
    """Collects values in the order in which a `Reader` reads them, and counts their bits.

    Attributes:
        cost_bits: coded length so far.
    """

    def __init__(self) -> None:
        self._pieces: list[tuple[NDArray[np.int32], _Model]] = []
        self.cost_bits = 0.0

    def number(self, value: int, width: int) -> None:
        """Append one integer below ``2**width``."""
        self.bits(np.array([value], dtype=np.uint64), width)

    def bits(self, values: Integers, width: int) -> None:
        """Append integers below ``2**width``, ``width`` bits each."""
        for low in range(0, width, _CHUNK):
            size = 1 << min(_CHUNK, width - low)
            chunk = (values >> values.dtype.type(low)) & values.dtype.type(size - 1)
            digits = chunk.view(np.int32) if chunk.itemsize == 4 else chunk.astype(np.int32)
            self._put(digits, size, len(values) * float(np.log2(size)))

    def symbols(self, values: Integers, size: int) -> None:
        """Append integers below ``size``, each block coded with the counts of earlier blocks."""
        if size < 2 or not len(values):
            return
        symbols = values.astype(np.int32)
        parts = [symbols[a:b] for a, b in _blocks(len(symbols), size)]
        counts = np.stack([np.bincount(part, minlength=size) for part in parts])
        seen = np.cumsum(counts, axis=0) - counts
        costs = [_adaptive_cost(counts, seen, prior) for prior in PRIORS]
        best = int(np.argmin(costs))
        self.number(best, _PRIOR_BITS)
        for part, before in zip(parts, seen, strict=True):
            self._put(part, _frequencies(before, PRIORS[best]), 0.0)
        self.cost_bits += costs[best]

    def gaps(self, gaps: Integers, ones: int, cells: int) -> None:
        """Append the number of zeros before each one, digit by digit.

        The digits of a geometric variable are independent, so each has its own table.

        Args:
            gaps: the numbers of zeros, (ones,).
            ones: number of ones.
            cells: number of cells, ones and zeros.
        """
        digits = _digits(int(gaps.max()))
        self.number(digits, _DIGITS_BITS)
        for place, table in enumerate(_geometric(ones, cells, digits)):
            digit = ((gaps >> (_DIGIT * place)) & 0xFF).astype(np.int32)
            counts = np.bincount(digit, minlength=len(table))
            self._put(digit, table, _cost(counts, table))

    def extend(self, other: Writer) -> None:
        """Append everything that ``other`` collected."""
        self._pieces += other._pieces
        self.cost_bits += other.cost_bits

    def to_bytes(self) -> bytes:
        """The stream as little-endian words; on this stack the first value is pushed last."""
        coder = constriction.stream.stack.AnsCoder()
        for symbols, model in reversed(self._pieces):
            coder.encode_reverse(symbols, _model(model))
        return bytes(coder.get_compressed().astype("<u4").tobytes())

    def _put(self, symbols: NDArray[np.int32], model: _Model, cost_bits: float) -> None:
        self._pieces.append((symbols, model))
        self.cost_bits += cost_bits


class Reader:
    """Reads the values that a `Writer` collected.

    Attributes:
        entropy_bits: entropy of the arrays read so far, each with its own known frequencies:
            n · H(symbols), N · H(k / N) for gaps, and the length of raw bits.

    Raises:
        DamagedStream: from every method, if no writer could have written the stream.
    """

    def __init__(self, stream: bytes) -> None:
        words = np.frombuffer(stream, dtype="<u4").astype(np.uint32)
        if len(words) and not words[-1]:
            raise DamagedStream
        self._coder = constriction.stream.stack.AnsCoder(words)
        self.entropy_bits = 0.0

    @property
    def left_bits(self) -> int:
        """Bits not read yet."""
        return int(self._coder.num_valid_bits())

    def number(self, width: int) -> int:
        """Read one integer below ``2**width``."""
        return int(self._bits(1, width)[0])

    def bits(self, count: int, width: int) -> NDArray[np.uint64]:
        """Read ``count`` integers below ``2**width``."""
        self.entropy_bits += count * width
        return self._bits(count, width)

    def _bits(self, count: int, width: int) -> NDArray[np.uint64]:
        self.expect(count * width)
        values = np.zeros(count, dtype=np.uint64)
        for low in range(0, width, _CHUNK):
            chunk = self._take(count, 1 << min(_CHUNK, width - low))
            values |= chunk.astype(np.uint64) << np.uint64(low)
        return values

    def symbols(self, count: int, size: int) -> NDArray[np.int32]:
        """Read ``count`` integers below ``size``."""
        values = np.zeros(count, dtype=np.int32)
        if size < 2 or not count:
            return values
        prior = PRIORS[self.number(_PRIOR_BITS)]
        seen = np.zeros(size, dtype=np.int64)
        for start, stop in _blocks(count, size):
            values[start:stop] = self._take(stop - start, _frequencies(seen, prior))
            seen += np.bincount(values[start:stop], minlength=size)
        self.entropy_bits += histogram_bits(seen)
        return values

    def gaps(self, ones: int, cells: int) -> NDArray[np.int64]:
        """Read the number of zeros before each of ``ones`` ones among ``cells`` cells.

        Raises:
            DamagedStream: the stream is too short, or cannot hold such gaps.
        """
        self.expect(ones)  # at most half of the cells are ones, so each takes at least one bit
        digits = self.number(_DIGITS_BITS)
        if not 1 <= digits <= _digits(cells):
            raise DamagedStream
        gaps = np.zeros(ones, dtype=np.int64)
        for place, table in enumerate(_geometric(ones, cells, digits)):
            gaps += self._take(ones, table).astype(np.int64) << (_DIGIT * place)
        self.entropy_bits += histogram_bits(np.array([ones, cells - ones]))
        return gaps

    def expect(self, bits: int) -> None:
        """Check that ``bits`` bits are left, before memory for them is allocated.

        Raises:
            DamagedStream: fewer are.
        """
        if bits > self.left_bits + 64:
            raise DamagedStream

    def finish(self) -> None:
        """Check that the stream is fully read.

        Raises:
            DamagedStream: something is left.
        """
        if not self._coder.is_empty():
            raise DamagedStream

    def _take(self, count: int, model: _Model) -> NDArray[np.int32]:
        symbols: NDArray[np.int32] = self._coder.decode(_model(model), count)
        return symbols


def histogram_bits(counts: NDArray[np.int64]) -> float:
    """``n · H(counts / n)``: the zeroth-order entropy, in bits, of n symbols with these counts."""
    some = counts[counts > 0].astype(np.float64)
    total = float(some.sum())
    return total * float(np.log2(total)) - float(some @ np.log2(some)) if total else 0.0


def _model(model: _Model) -> Any:
    """The coder's model; integer frequencies in float64 round the same on every machine."""
    if isinstance(model, int):
        return constriction.stream.model.Uniform(model)
    return constriction.stream.model.Categorical(model, perfect=False)


def _blocks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and end of each block; a block is half as long as all earlier ones together."""
    start, first = 0, max(32, size // 2)
    while start < count:
        stop = min(count, start + max(first, start // 2))
        yield start, stop
        start = stop


def _frequencies(seen: NDArray[np.int64], prior: int) -> NDArray[np.float64]:
    return (16 * seen + prior).astype(np.float64)


def _adaptive_cost(counts: NDArray[np.int64], seen: NDArray[np.int64], prior: int) -> float:
    """Bits of all blocks, each row of ``counts`` coded with the counts seen before it."""
    return _cost(counts, _frequencies(seen, prior))


def _cost(counts: NDArray[np.int64], frequencies: NDArray[np.float64]) -> float:
    """Bits of symbols with these counts; the last axis is the alphabet, others are summed."""
    total = frequencies.sum(axis=-1)
    rarest = total[..., None] * 2.0**-24  # the coder's smallest probability
    each = np.log2(np.maximum(frequencies, rarest))
    bits = counts.sum(axis=-1) * np.log2(total) - (counts * each).sum(axis=-1)
    return float(np.sum(bits))


def _digits(largest: int) -> int:
    return max(1, -(-largest.bit_length() // _DIGIT))


def _geometric(ones: int, cells: int, digits: int) -> Iterator[NDArray[np.float64]]:
    """One table per digit: θʳ for r < 256 with θ = 1 − ones / cells, then θ²⁵⁶ for θ, and so on."""
    theta = (cells - ones) * _ONE // cells
    for _ in range(digits):
        powers = [_ONE]
        for _ in range(1 << _DIGIT):
            powers.append(powers[-1] * theta >> 40)
        theta = powers.pop()
        yield np.array(powers, dtype=np.float64) + 1
