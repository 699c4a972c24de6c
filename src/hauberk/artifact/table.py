"""The table of a file's entries: names, element types, shapes and representations, deflated.

The table is stored by column because types and shapes repeat. Names are front-coded: each omits
the prefix it has in common with the previous name.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np

from hauberk.artifact.ans import DamagedStream
from hauberk.artifact.bit_patterns import NUMBERS, Number
from hauberk.printable import refuse_names

_LARGEST_TABLE = 1 << 24
_MOST_ENTRIES = 1 << 16
_LARGEST_NAMES = 1 << 24
"""Bytes of all names, before front coding."""
_LARGEST_SIZE = 1 << 40
_LARGEST_RANK = 32
_FREE_BYTES = 1 << 29
"""Memory that any file may need; above this it must be in proportion to the payload."""
_BYTES_PER_BYTE = 1 << 14


class Stored(IntEnum):
    """The representation of an entry."""

    PLAIN = 0
    ALIAS = 1
    FACTORS = 2
    FACTORS_FROM_IDENTITY = 3


@dataclass(frozen=True)
class Entry:
    """One name of the state.

    Attributes:
        name: key in the module's ``state_dict``.
        stored: representation.
        dtype: index of the element type in `NUMBERS`.
        shape: shape of the dense tensor.
        inner: columns of U for factors, index of the original entry for an alias, else 0.
    """

    name: str
    stored: Stored
    dtype: int
    shape: tuple[int, ...]
    inner: int = 0

    @property
    def kind(self) -> Number:
        """The element type."""
        return NUMBERS[self.dtype]

    @property
    def count(self) -> int:
        """Elements of the dense tensor."""
        return int(np.prod(self.shape, dtype=object))

    @property
    def factor_shapes(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """Shapes of U, V and C."""
        rows = self.shape[0]
        columns = int(np.prod(self.shape[1:], dtype=object))
        return (rows, self.inner), (self.inner, columns), (rows, columns)

    @property
    def need_bytes(self) -> int:
        """Estimate of the bytes of memory that decoding needs."""
        if self.stored is Stored.ALIAS:
            return 0
        if self.stored is Stored.PLAIN:
            return 8 * self.count
        return sum(8 * a * b for a, b in self.factor_shapes)


def pack(entries: Sequence[Entry]) -> bytes:
    """The table as bytes.

    Raises:
        ValueError: too many entries, names too long, or control characters in one.
    """
    refuse_names((entry.name for entry in entries), "The state")
    names = [entry.name.encode() for entry in entries]
    if len(entries) > _MOST_ENTRIES or sum(map(len, names)) > _LARGEST_NAMES:
        raise ValueError(
            f"The state has {len(entries):,} tensors; a file holds at most {_MOST_ENTRIES:,}, "
            f"with names of {_LARGEST_NAMES:,} bytes in all: merge some of them."
        )
    same = [_common(a, b) for a, b in pairwise([b"", *names])]
    rest = [name[n:] for name, n in zip(names, same, strict=True)]
    shaped = [entry for entry in entries if entry.stored is not Stored.ALIAS]
    plain = (
        _varint(len(entries))
        + bytes(entry.stored << 4 | entry.dtype for entry in entries)
        + _varints(same)
        + _varints(map(len, rest))
        + b"".join(rest)
        + _varints(entry.inner for entry in entries if entry.stored is not Stored.PLAIN)
        + _varints(len(entry.shape) for entry in shaped)
        + _varints(size for entry in shaped for size in entry.shape)
    )
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(plain) + deflate.flush()


def unpack(packed: bytes) -> tuple[Entry, ...]:
    """The entries of a table that `pack` made.

    Raises:
        DamagedStream: `pack` did not write the bytes.
    """
    inflate = zlib.decompressobj(-15)
    try:
        plain = inflate.decompress(packed, _LARGEST_TABLE)
    except zlib.error as error:
        raise DamagedStream from error
    if not inflate.eof or inflate.unused_data:
        raise DamagedStream
    cursor = _Cursor(plain)
    entries = cursor.entries()
    if not cursor.ended or len({e.name for e in entries}) != len(entries):
        raise DamagedStream
    return tuple(entries)


def affordable(need_bytes: int, payload_bytes: int) -> bool:
    """Whether decoding a payload of this size may need this much memory."""
    return need_bytes <= _FREE_BYTES + _BYTES_PER_BYTE * payload_bytes


class _Cursor:
    """A read position in the uncompressed bytes of a table."""

    def __init__(self, plain: bytes) -> None:
        self._plain = plain
        self._at = 0

    @property
    def ended(self) -> bool:
        """Whether all bytes are read."""
        return self._at == len(self._plain)

    def entries(self) -> list[Entry]:
        """Read the columns in order: types, names, inner sizes, ranks, shapes."""
        count = self._size(_MOST_ENTRIES)
        kinds = [_kind(byte) for byte in self._take(count)]
        names = self._names(count)
        inner = [self._inner(stored) for stored, _ in kinds]
        axes = [self._axes(stored) for stored, _ in kinds]
        found: list[Entry] = []
        for (stored, dtype), name, wide, rank in zip(kinds, names, inner, axes, strict=True):
            found.append(_entry(name, stored, dtype, wide, self._shape(rank), found))
        return found

    def _names(self, count: int) -> list[str]:
        same = [self._size(len(self._plain)) for _ in range(count)]
        more = [self._size(len(self._plain)) for _ in range(count)]
        if sum(same) + sum(more) > _LARGEST_NAMES:
            raise DamagedStream
        names, name = [], b""
        for kept, length in zip(same, more, strict=True):
            if kept > len(name):
                raise DamagedStream
            name = name[:kept] + self._take(length)
            names.append(_text(name))
        return names

    def _inner(self, stored: Stored) -> int:
        return 0 if stored is Stored.PLAIN else self._size(_LARGEST_SIZE)

    def _axes(self, stored: Stored) -> int:
        return 0 if stored is Stored.ALIAS else self._size(_LARGEST_RANK)

    def _shape(self, axes: int) -> tuple[int, ...]:
        return tuple(self._size(_LARGEST_SIZE) for _ in range(axes))

    def _size(self, limit: int) -> int:
        value = shift = 0
        while True:
            byte = self._take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if value > limit or shift > 63:
                raise DamagedStream
            if byte < 128:
                return value

    def _take(self, count: int) -> bytes:
        part = self._plain[self._at : self._at + count]
        self._at += count
        if len(part) < count:
            raise DamagedStream
        return part


def _kind(byte: int) -> tuple[Stored, int]:
    high, dtype = divmod(byte, 16)
    if high >= len(Stored) or dtype >= len(NUMBERS):
        raise DamagedStream
    return Stored(high), dtype


def _text(name: bytes) -> str:
    try:
        text = name.decode()
        refuse_names([text], "The file")
    except ValueError as error:
        raise DamagedStream from error
    return text


def _entry(
    name: str,
    stored: Stored,
    dtype: int,
    inner: int,
    shape: tuple[int, ...],
    before: Sequence[Entry],
) -> Entry:
    """A checked entry that follows those in ``before``; DamagedStream if no writer writes it."""
    if stored is Stored.ALIAS:
        if inner >= len(before) or before[inner].stored is Stored.ALIAS:
            raise DamagedStream
        return Entry(name, stored, dtype, before[inner].shape, inner)
    entry = Entry(name, stored, dtype, shape, inner)
    if np.prod([max(n, 1) for n in shape], dtype=object) > _LARGEST_SIZE:
        raise DamagedStream
    if stored is not Stored.PLAIN and not (shape and entry.kind.fraction_bits):
        raise DamagedStream
    if stored is Stored.FACTORS_FROM_IDENTITY and inner != shape[0]:
        raise DamagedStream
    return entry


def _common(a: bytes, b: bytes) -> int:
    """The length of the common prefix of two names, in bytes."""
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


def _varints(values: Iterable[int]) -> bytes:
    return b"".join(map(_varint, values))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
