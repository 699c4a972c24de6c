"""Code tensors and factors in the shortest of several exact representations.

    tensor  = support (`positions`) + non-zero values (`values`)
    factors = U, V, C if they are shorter than the tensor U V + C   (arXiv 1902.03538, eq. 5)

The product of factors is summed in a fixed order, so that every machine decodes the same tensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hauberk.artifact import positions, values
from hauberk.artifact.ans import DamagedStream, Reader, Writer
from hauberk.artifact.bit_patterns import NUMBERS, Number, place_of
from hauberk.artifact.table import Entry, Stored
from hauberk.parametrize.factors import Factors

_FREE_STEPS = 1 << 28
_STEPS_PER_BYTE = 1 << 13
_STEPS_PER_ROW = 1 << 10
"""Overhead of one row operation, in multiplications."""


class Parts(NamedTuple):
    """Bits that a tensor takes in the stream, by part, and their entropies.

    Attributes:
        positions: bits of the positions of the non-zeros.
        codes: bits of the codebook indices, or of the values if there is no codebook.
        codebook: bits of the distinct values.
        position_entropy: entropy of the positions given the classes of rows and columns, plus that
            of the classes, in bits.
        code_entropy: zeroth-order entropy of the codes, in bits. Without a codebook: entropy of
            the values' high parts, plus the raw bits of their low parts.
    """

    positions: float
    codes: float
    codebook: float
    position_entropy: float
    code_entropy: float

    def plus(self, other: Parts) -> Parts:
        """The sum, part by part."""
        return Parts(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass(frozen=True)
class DecodedTensor:
    """A decoded tensor and its size in the stream.

    Attributes:
        tensor: the dense tensor.
        kept: stored non-zeros, summed over all factors.
        bits: bits of one stored value or codebook index, in the factor with most non-zeros.
        parts: sizes in bits, summed over all factors.
    """

    tensor: Tensor
    kept: int
    bits: int
    parts: Parts

    @property
    def nbytes(self) -> float:
        """Bytes in the stream, unrounded."""
        return (self.parts.positions + self.parts.codes + self.parts.codebook) / 8


def write(out: Writer, name: str, value: Tensor | Factors) -> Entry:
    """Code ``value`` in its shortest representation.

    Args:
        out: the stream to append to.
        name: key in the state, for the entry and for errors.
        value: a dense tensor of any shape, or factors.

    Returns:
        the entry for the file's table.

    Raises:
        ValueError: the value holds NaN or infinities, or its element type is not supported.
    """
    if isinstance(value, Factors):
        for part in value[:3]:
            _check(name, part)
        tensor = value.dense()
    else:
        tensor = value
    dtype = _check(name, tensor)
    plain = Writer()
    _write_tensor(plain, tensor, NUMBERS[dtype])
    entry, best = Entry(name, Stored.PLAIN, dtype, tuple(tensor.shape)), plain
    if isinstance(value, Factors):
        for stored, factored in _factored(value, NUMBERS[dtype]):
            if factored.cost_bits < best.cost_bits:
                entry = Entry(name, stored, dtype, entry.shape, value.u.shape[1])
                best = factored
    out.extend(best)
    return entry


def read(source: Reader, entry: Entry, payload_bytes: int) -> DecodedTensor:
    """Decode the next tensor of the stream.

    Args:
        source: the stream.
        entry: the tensor's entry in the table.
        payload_bytes: length of the whole stream, which bounds the work of decoding.

    Raises:
        DamagedStream: the stream is inconsistent, or the work is out of proportion to it.
    """
    if entry.stored is Stored.PLAIN:
        return _read_tensor(source, entry.shape, entry.kind)
    return _read_factors(source, entry, payload_bytes)


def _check(name: str, tensor: Tensor) -> int:
    dtype = place_of(tensor.dtype)
    if dtype < 0 or tensor.layout is not torch.strided:
        raise ValueError(
            f"{name!r} is a {tensor.layout} tensor of {tensor.dtype}; a file holds dense tensors "
            f"of {', '.join(str(n.dtype).removeprefix('torch.') for n in NUMBERS)}."
        )
    if tensor.is_floating_point() and not _finite(tensor):
        raise ValueError(
            f"{name!r} holds NaN or infinite numbers; a file holds finite ones only: "
            "train again with a smaller step, or from an earlier checkpoint."
        )
    return dtype


def _finite(tensor: Tensor) -> bool:
    """Whether all elements are finite; aminmax propagates NaN and is faster than isfinite."""
    return not tensor.numel() or all(end.isfinite() for end in torch.aminmax(tensor))


def _write_tensor(out: Writer, tensor: Tensor, kind: Number) -> None:
    patterns = kind.patterns(tensor)
    index = np.flatnonzero(patterns)
    order = positions.write(out, index, tuple(tensor.shape))
    full = len(index) == len(patterns)
    values.write(out, patterns if full else patterns[index][order], kind)


def _read_tensor(source: Reader, shape: tuple[int, ...], kind: Number) -> DecodedTensor:
    start, entropy = source.left_bits, source.entropy_bits
    index = positions.read(source, shape)
    middle, placing = source.left_bits, source.entropy_bits - entropy
    count = int(np.prod(shape, dtype=np.int64))
    found = values.read(source, count if index is None else len(index), kind)
    codes = middle - source.left_bits - found.book_bits
    parts = Parts(start - middle, codes, found.book_bits, placing, found.entropy_bits)
    tensor = kind.tensor(found.folded, index, shape)
    return DecodedTensor(tensor, len(found.folded), found.bits, parts)


def _factored(value: Factors, kind: Number) -> list[tuple[Stored, Writer]]:
    """The factored representations of ``value``."""
    u, v, c, _ = value
    if not u.dtype == v.dtype == c.dtype or not u.shape[1]:
        return []
    rest = Writer()
    _write_tensor(rest, v, kind)
    _write_tensor(rest, c, kind)
    ways = []
    for stored, left in ((Stored.FACTORS, u), (Stored.FACTORS_FROM_IDENTITY, _from_identity(u))):
        if left is not None:
            out = Writer()
            _write_tensor(out, left, kind)
            out.extend(rest)
            ways.append((stored, out))
    least = min(out.cost_bits for _, out in ways)
    return ways if _feasible(u, v, least / 8) else []


def _from_identity(u: Tensor) -> Tensor | None:
    """``U − I``, if adding I restores U bit-exactly; else None."""
    if u.shape[0] != u.shape[1]:
        return None
    identity = torch.eye(len(u), dtype=u.dtype, device=u.device)
    rest = u - identity
    return rest if _same_bits(rest + identity, u) else None


def _read_factors(source: Reader, entry: Entry, payload_bytes: int) -> DecodedTensor:
    u, v, c = (_read_tensor(source, shape, entry.kind) for shape in entry.factor_shapes)
    left = u.tensor
    if entry.stored is Stored.FACTORS_FROM_IDENTITY:
        left = left + torch.eye(len(left), dtype=left.dtype)
    if not _feasible(left, v.tensor, payload_bytes):
        raise DamagedStream
    dense = Factors(left, v.tensor, c.tensor, entry.shape).dense()
    main = max((u, v, c), key=lambda part: part.kept)
    parts = u.parts.plus(v.parts).plus(c.parts)
    return DecodedTensor(dense, u.kept + v.kept + c.kept, main.bits, parts)


def _feasible(u: Tensor, v: Tensor, payload_bytes: float) -> bool:
    """Whether the work of this product is in proportion to the size of the payload."""
    steps = int(torch.count_nonzero(u)) * (v.shape[1] + _STEPS_PER_ROW)
    return steps <= _FREE_STEPS + _STEPS_PER_BYTE * payload_bytes


def _same_bits(a: Tensor, b: Tensor) -> bool:
    kind = NUMBERS[place_of(a.dtype)]
    return bool(np.array_equal(kind.patterns(a), kind.patterns(b)))
