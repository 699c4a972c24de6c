"""Sizes of the stored tensors of a file, for `hauberk inspect` and plots."""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.artifact.codec import DecodedTensor
from hauberk.artifact.table import Entry, Stored


@dataclass(frozen=True)
class Layer:
    """Sizes of one stored tensor: a line of `hauberk inspect`.

    Attributes:
        name: key in the state.
        shape: shape of the dense tensor.
        rank: inner size of the factors; None if the tensor is stored unfactored.
        kept: stored non-zeros, summed over all factors.
        weights: elements of the dense tensor.
        bits: bits that an index into the codebook takes, or a value if there is no codebook.
        nbytes: bytes of the stream that the tensor takes, rounded.
        share: these bytes as a fraction of the file.
        position_bytes: bytes that code the positions of the non-zeros.
        code_bytes: bytes that code the codebook index of each non-zero, or the values themselves.
        codebook_bytes: bytes that code the codebook.
        position_entropy: lower bound in bytes on any coder of the positions that uses the same
            classes of rows and columns, the classes included.
        code_entropy: zeroth-order entropy of the codes, in bytes.
    """

    name: str
    shape: tuple[int, ...]
    rank: int | None
    kept: int
    weights: int
    bits: int
    nbytes: int
    share: float
    position_bytes: float
    code_bytes: float
    codebook_bytes: float
    position_entropy: float
    code_entropy: float

    @property
    def over_entropy(self) -> float:
        """Excess over the entropy, as a fraction of it; the codebook counts fully in both."""
        least = self.position_entropy + self.code_entropy + self.codebook_bytes
        total = self.position_bytes + self.code_bytes + self.codebook_bytes
        return total / least - 1 if least else 0.0


def layer_of(entry: Entry, found: DecodedTensor, file_bytes: int) -> Layer:
    """The sizes of one stored tensor.

    Args:
        entry: its entry in the table.
        found: the decoded tensor and its size in the stream.
        file_bytes: bytes of the whole file.
    """
    return Layer(
        entry.name,
        entry.shape,
        entry.inner if entry.stored is not Stored.PLAIN else None,
        found.kept,
        entry.count,
        found.bits,
        round(found.nbytes),
        found.nbytes / file_bytes,
        *(bits / 8 for bits in found.parts),
    )
