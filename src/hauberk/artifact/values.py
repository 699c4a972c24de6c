"""Code the non-zero values as codebook + indices or as exponents + raw fractions, if shorter.

Trailing zero bits common to all values are dropped first, so values that fit float16, bfloat16 or
a small grid cost no more than in that type. A codebook is sorted and its steps are coded, which
saves the log₂ K! bits of an arbitrary order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hauberk.artifact.ans import DamagedStream, Integers, Reader, Writer
from hauberk.artifact.bit_patterns import Number

_LARGEST_BOOK = 1 << 16
_BOOK_BITS = 17
_LENGTH_BITS = 7
_ALPHABET_BITS = 12
_SAMPLE = 1 << 16
_HASHED = 256
_HASH_BITS = 16
_ODD = np.random.default_rng(0).integers(1 << 32, size=(32, 1), dtype=np.uint32) | np.uint32(1)


def write(out: Writer, values: Integers, kind: Number) -> None:
    """Code values in the shorter of the two representations.

    Args:
        out: the stream to append to.
        values: folded patterns (see `Number.patterns`), (count,).
        kind: the element type.
    """
    if not len(values):
        return
    drop = _shared_zeros(values)
    short = _squeeze(values, drop)
    ways = [_indexed(short), _raw(short, kind, drop)]
    best = min((way for way in ways if way is not None), key=lambda way: way.cost_bits)
    out.number(drop, _LENGTH_BITS)
    out.number(int(best is ways[0]), 1)
    out.extend(best)


class Found(NamedTuple):
    """Decoded values and their size in the stream.

    Attributes:
        folded: patterns, (count,), see `Number.patterns`.
        bits: bits of one index or value.
        book_bits: bits of the codebook; 0 if there is none.
        entropy_bits: entropy of the rest (see `Reader.entropy_bits`).
    """

    folded: Integers
    bits: int
    book_bits: int
    entropy_bits: float


def read(source: Reader, count: int, kind: Number) -> Found:
    """Read values.

    Args:
        source: the stream.
        count: number of values.
        kind: the element type.

    Raises:
        DamagedStream: no writer writes such values.
    """
    if not count:
        return Found(np.zeros(0, dtype=kind.unsigned), 0, 0, 0.0)
    drop = source.number(_LENGTH_BITS)
    if drop >= kind.bits:
        raise DamagedStream
    return (_read_indexed if source.number(1) else _read_plain)(source, count, drop, kind)


def _read_indexed(source: Reader, count: int, drop: int, kind: Number) -> Found:
    start = source.left_bits
    book = _read_book(source, drop, kind)
    kind.check(book)
    taken, entropy = start - source.left_bits, source.entropy_bits
    if len(book) == 1:
        return Found(np.full(count, book[0]), 0, taken, 0.0)
    folded = book[source.symbols(count, len(book))]
    return Found(folded, (len(book) - 1).bit_length(), taken, source.entropy_bits - entropy)


def _read_plain(source: Reader, count: int, drop: int, kind: Number) -> Found:
    entropy = source.entropy_bits
    folded = _stretch(_read_raw(source, count, kind), drop)
    kind.check(folded)
    return Found(folded, kind.bits - drop, 0, source.entropy_bits - entropy)


def _shared_zeros(values: Integers) -> int:
    """Trailing zero bits common to all magnitudes; the lowest bit, the sign, is skipped."""
    every = int(np.bitwise_or.reduce(values)) >> 1
    return (every & -every).bit_length() - 1 if every else 0


def _squeeze(values: Integers, drop: int) -> Integers:
    one, by = values.dtype.type(1), values.dtype.type(drop)
    return ((values >> one >> by) << one) | (values & one) if drop else values


def _stretch(short: Integers, drop: int) -> Integers:
    one, by = short.dtype.type(1), short.dtype.type(drop)
    return ((short >> one) << one << by) | (short & one) if drop else short


def _indexed(values: Integers) -> Writer | None:
    found = _codebook(values)
    if found is None:
        return None
    book, index = found
    out = Writer()
    out.number(len(book), _BOOK_BITS)
    _write_sorted(out, book)
    out.symbols(index, len(book))
    return out


def _codebook(values: Integers) -> tuple[Integers, Integers] | None:
    """The sorted distinct values and the index of each value; None if there are too many."""
    sample = values[:: -(-len(values) // _SAMPLE)]
    book = np.unique(sample)
    if len(book) > len(sample) // 2 and len(values) > len(sample):
        return None  # hardly any value occurs twice
    while len(book) <= _LARGEST_BOOK:
        index = _places(book, values)
        missing = values[book[index] != values]
        if not len(missing):
            return book, index
        book = np.union1d(book, missing[:: -(-len(missing) // _SAMPLE)])
    return None


def _places(book: Integers, values: Integers) -> Integers:
    """The index of each value in the sorted ``book``; any index for a value not in it.

    A small book of 32-bit values is looked up with the first multiplicative hash without a
    collision, which is several times faster than bisection.
    """
    if values.dtype == np.uint32 and len(book) <= _HASHED:
        by = np.uint32(32 - _HASH_BITS)
        for odd in _ODD:
            slots = book * odd >> by
            table = np.zeros(1 << _HASH_BITS, dtype=np.intp)
            table[slots] = np.arange(len(book))
            if (table[slots] == np.arange(len(book))).all():
                found: Integers = table[values * odd >> by]
                return found
    return np.minimum(np.searchsorted(book, values), len(book) - 1)


def _write_sorted(out: Writer, book: Integers) -> None:
    """Code the first value, the bit lengths of the steps, and their bits below the leading one."""
    first = int(book[0])
    out.number(first.bit_length(), _LENGTH_BITS)
    out.number(first, first.bit_length())
    if len(book) < 2:
        return
    steps = np.diff(book).astype(np.uint64)
    lengths = _bit_lengths(steps)
    low, high = int(lengths.min()), int(lengths.max())
    out.number(low, _LENGTH_BITS)
    out.number(high, _LENGTH_BITS)
    out.symbols(lengths - low, high - low + 1)
    for length in range(low, high + 1):
        out.bits(steps[lengths == length], length - 1)


def _read_book(source: Reader, drop: int, kind: Number) -> Integers:
    count = source.number(_BOOK_BITS)
    if not 1 <= count <= _LARGEST_BOOK:
        raise DamagedStream
    length = source.number(_LENGTH_BITS)
    book = np.zeros(count, dtype=np.uint64)
    book[0] = source.number(_fits(length, kind.bits - drop))
    if count > 1:
        low, high = source.number(_LENGTH_BITS), source.number(_LENGTH_BITS)
        if not 1 <= low <= _fits(high, kind.bits - drop):
            raise DamagedStream
        lengths = source.symbols(count - 1, high - low + 1) + low
        for length in range(low, high + 1):
            these = np.flatnonzero(lengths == length)
            leading = np.uint64(1 << (length - 1))
            book[1:][these] = leading | source.bits(len(these), length - 1)
        book = np.cumsum(book, dtype=np.uint64)
    if (book[1:] <= book[:-1]).any() or int(book[-1]) >> (kind.bits - drop):
        raise DamagedStream
    return _stretch(book, drop).astype(kind.unsigned)


def _bit_lengths(steps: Integers) -> Integers:
    lengths = np.zeros(len(steps), dtype=np.int64)
    for bit in range(64):
        lengths += steps >= np.uint64(1 << bit)
    return lengths


def _raw(values: Integers, kind: Number, drop: int) -> Writer:
    """Code high parts (a float's exponent) adaptively and low parts (fraction, sign) raw."""
    low, high = int(values.min()), int(values.max())
    if kind.fraction_bits is None:
        split = max(0, high.bit_length() - 8)
    else:
        split = max(0, kind.fraction_bits + 1 - drop)
    while (high >> split) - (low >> split) >= 1 << _ALPHABET_BITS:
        split += 1
    by, start = values.dtype.type(split), low >> split
    out = Writer()
    out.number(split, _LENGTH_BITS)
    out.number(start, kind.bits)
    out.number((high >> split) - start, _ALPHABET_BITS)
    out.symbols((values >> by) - values.dtype.type(start), (high >> split) - start + 1)
    out.bits(values & values.dtype.type((1 << split) - 1), split)
    return out


def _read_raw(source: Reader, count: int, kind: Number) -> Integers:
    split = _fits(source.number(_LENGTH_BITS), kind.bits - 1)
    start = source.number(kind.bits)
    size = source.number(_ALPHABET_BITS) + 1
    if (start + size - 1) << split >= 1 << kind.bits:
        raise DamagedStream
    by = kind.unsigned(split)
    high: Integers = source.symbols(count, size).astype(kind.unsigned) + kind.unsigned(start)
    high <<= by
    high |= source.bits(count, split).astype(kind.unsigned)
    return high


def _fits(length: int, limit: int) -> int:
    if length > limit:
        raise DamagedStream
    return length
