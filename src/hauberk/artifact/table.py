"""The list of what a file holds: names, types, shapes, and how each is stored; small, deflated."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from hauberk.artifact.bitpatterns import NUMBERS, Number
from hauberk.artifact.entropy import DamagedStream

_LARGEST_TABLE = 1 << 24
_LARGEST_SIZE = 1 << 40
_LARGEST_RANK = 32
_FREE_BYTES = 1 << 29
"""Any file may ask for this much memory; beyond it, what it asks for must be in proportion."""
_BYTES_PER_BYTE = 1 << 14


class Stored(IntEnum):
    """How an entry is stored."""

    PLAIN = 0
    ALIAS = 1
    FACTORS = 2
    FACTORS_FROM_IDENTITY = 3


@dataclass(frozen=True)
class Entry:
    """One name of the state.

    Attributes:
        name: as in the module's ``state_dict``.
        stored: how.
        dtype: place of the element type in `NUMBERS`.
        shape: of the dense tensor.
        inner: columns of U for factors, place of the original for an alias, else 0.
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
        """Memory that decoding asks for, in proportion."""
        if self.stored is Stored.ALIAS:
            return 0
        if self.stored is Stored.PLAIN:
            return 8 * self.count
        return sum(8 * a * b for a, b in self.factor_shapes)


def pack(entries: Sequence[Entry]) -> bytes:
    """The table as bytes."""
    plain = bytearray(_varint(len(entries)))
    for entry in entries:
        name = entry.name.encode()
        plain += bytes([entry.stored << 4 | entry.dtype]) + _varint(len(name)) + name
        if entry.stored is not Stored.PLAIN:
            plain += _varint(entry.inner)
        if entry.stored is not Stored.ALIAS:
            plain += _varint(len(entry.shape)) + b"".join(map(_varint, entry.shape))
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(bytes(plain)) + deflate.flush()


def unpack(packed: bytes) -> tuple[Entry, ...]:
    """The entries of a table.

    Raises:
        DamagedStream: it is no table.
    """
    inflate = zlib.decompressobj(-15)
    try:
        plain = inflate.decompress(packed, _LARGEST_TABLE)
    except zlib.error as error:
        raise DamagedStream from error
    if not inflate.eof or inflate.unused_data:
        raise DamagedStream
    return _Cursor(plain).entries()


def affordable(need_bytes: int, payload_bytes: int) -> bool:
    """Whether a payload of this size may ask for so much memory when it is decoded."""
    return need_bytes <= _FREE_BYTES + _BYTES_PER_BYTE * payload_bytes


class _Cursor:
    """A place in the plain bytes of a table."""

    def __init__(self, plain: bytes) -> None:
        self._plain = plain
        self._at = 0

    def entries(self) -> tuple[Entry, ...]:
        found: list[Entry] = []
        for _ in range(self._size(len(self._plain))):
            found.append(self._entry(found))
        if self._at != len(self._plain) or len({e.name for e in found}) != len(found):
            raise DamagedStream
        return tuple(found)

    def _entry(self, before: Sequence[Entry]) -> Entry:
        high, dtype = divmod(self._take(1)[0], 16)
        if high >= len(Stored) or dtype >= len(NUMBERS):
            raise DamagedStream
        stored = Stored(high)
        try:
            name = self._take(self._size(len(self._plain))).decode()
        except UnicodeDecodeError as error:
            raise DamagedStream from error
        inner = self._size(_LARGEST_SIZE) if stored is not Stored.PLAIN else 0
        if stored is Stored.ALIAS:
            if inner >= len(before) or before[inner].stored is Stored.ALIAS:
                raise DamagedStream
            return Entry(name, stored, dtype, before[inner].shape, inner)
        shape = tuple(self._size(_LARGEST_SIZE) for _ in range(self._size(_LARGEST_RANK)))
        entry = Entry(name, stored, dtype, shape, inner)
        if np.prod([max(n, 1) for n in shape], dtype=object) > _LARGEST_SIZE:
            raise DamagedStream
        if stored is not Stored.PLAIN and not (shape and entry.kind.fraction_bits):
            raise DamagedStream
        if stored is Stored.FACTORS_FROM_IDENTITY and inner != shape[0]:
            raise DamagedStream
        return entry

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


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
