"""Convert tensors to unsigned integers and back, bit-exactly.

A float's bits are rotated so that the sign is the lowest bit; numbers of similar magnitude then
have similar patterns. Signed integers are zigzag-coded (0, −1, 1, −2, …).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hauberk.artifact.ans import DamagedStream, Integers


@dataclass(frozen=True)
class Number:
    """A type of tensor element.

    Attributes:
        dtype: its torch type.
        carrier: a torch type of the same width that NumPy supports.
        unsigned: NumPy type of the bit pattern.
        fraction_bits: bits of a float's fraction; None for an integer type.
        signed: whether the type has negative values.
    """

    dtype: torch.dtype
    carrier: torch.dtype
    unsigned: type[np.unsignedinteger]
    fraction_bits: int | None
    signed: bool

    @property
    def bits(self) -> int:
        """Width of one element in bits."""
        return 8 * np.dtype(self.unsigned).itemsize

    def patterns(self, tensor: Tensor) -> Integers:
        """The elements, row-major, as folded unsigned integers; only +0 maps to 0."""
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        return self._fold(flat.view(self.carrier).numpy().view(self.unsigned))

    def tensor(
        self, patterns: Integers, index: NDArray[np.int64] | None, shape: tuple[int, ...]
    ) -> Tensor:
        """The tensor with these `patterns` at flat positions ``index`` and zeros elsewhere.

        Args:
            patterns: folded patterns, (count,); one for each element if ``index`` is None.
            index: flat positions, (count,); None for all positions.
            shape: shape of the tensor.
        """
        plain = self._unfold(patterns)
        if index is not None:
            some, plain = plain, np.zeros(int(np.prod(shape, dtype=np.int64)), self.unsigned)
            plain[index] = some
        plain = plain.view(np.dtype(f"i{self.bits // 8}"))
        carrier = plain.view(np.uint8) if self.carrier is torch.uint8 else plain
        return torch.from_numpy(carrier).view(self.dtype).reshape(shape)

    def check(self, patterns: Integers) -> None:
        """Check for patterns that a writer never writes.

        Raises:
            DamagedStream: a pattern is an infinity, NaN, or a boolean above 1.
        """
        limit = 2 if self.dtype is torch.bool else 1 << self.bits
        if self.fraction_bits is not None:
            limit -= 2 << self.fraction_bits
        if len(patterns) and int(patterns.max()) >= limit:
            raise DamagedStream

    def _fold(self, x: Integers) -> Integers:
        one, top = self.unsigned(1), self.unsigned(self.bits - 1)
        if self.fraction_bits is not None:
            x = (x << one) | (x >> top)
        elif self.signed:
            x = (x << one) ^ (-(x >> top))
        return x

    def _unfold(self, x: Integers) -> Integers:
        one, top = self.unsigned(1), self.unsigned(self.bits - 1)
        if self.fraction_bits is not None:
            x = (x >> one) | (x << top)
        elif self.signed:
            x = (x >> one) ^ (-(x & one))
        return x


NUMBERS: tuple[Number, ...] = (
    Number(torch.float32, torch.int32, np.uint32, 23, True),
    Number(torch.float16, torch.int16, np.uint16, 10, True),
    Number(torch.bfloat16, torch.int16, np.uint16, 7, True),
    Number(torch.float64, torch.int64, np.uint64, 52, True),
    Number(torch.int8, torch.int8, np.uint8, None, True),
    Number(torch.int16, torch.int16, np.uint16, None, True),
    Number(torch.int32, torch.int32, np.uint32, None, True),
    Number(torch.int64, torch.int64, np.uint64, None, True),
    Number(torch.uint8, torch.uint8, np.uint8, None, False),
    Number(torch.bool, torch.uint8, np.uint8, None, False),
)
"""Supported element types. The index is the type's code in the file: append only."""


def place_of(dtype: torch.dtype) -> int:
    """The index of ``dtype`` in `NUMBERS`; -1 for an unsupported type."""
    return next((i for i, number in enumerate(NUMBERS) if number.dtype is dtype), -1)
