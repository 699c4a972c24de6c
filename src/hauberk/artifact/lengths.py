"""Coded lengths of tensors: exact for a tensor as it is, estimated for a plan of (K, b).

``bits`` runs the writer without coding, so it gives the stream's exact length. ``price`` estimates
the cost of a tensor with only its K largest weights left, in a codebook of 2ᵇ values, for many
(K, b) at once, as a rate–distortion planner needs them.

Departure from the writer in ``price``: the cost of positions is computed from counts, that of
values from a sample, and that of counts between anchors by interpolation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hauberk.artifact import codec, positions, values
from hauberk.artifact.ans import Writer, histogram_bits
from hauberk.artifact.bit_patterns import NUMBERS, Number, place_of
from hauberk.ops.kmeans import sketches
from hauberk.parametrize.factors import Factors

_Floats: TypeAlias = NDArray[np.float64]
_Index: TypeAlias = NDArray[np.int64]

_ANCHORS = 12
"""Kept counts whose cost is computed; costs between them are interpolated."""
_SPACING = 1 / 6
_FULLEST = 63 / 64
"""Largest density probed: a fuller tensor has too few zeros to show the structure."""
_SAMPLE = 1 << 12
"""Kept weights sampled to estimate the cost of the values."""
_MOST_BITS = 8


def bits(value: Tensor | Factors) -> float:
    """The length of ``value`` in a file's stream, in bits, exact to rounding.

    The name, the shape and the file's header are not included. Takes half a second for 11 M dense
    weights, less for sparse ones.

    Raises:
        ValueError: the value holds NaN or infinities, or its element type is not supported.
    """
    out = Writer()
    codec.write(out, "the tensor", value)
    return out.cost_bits


@torch.no_grad()
def price(tensor: Tensor, keep_counts: Sequence[int], bits: Sequence[int]) -> _Floats:
    """Estimate `bits` of ``tensor`` with its K largest weights in 2ᵇ values, for each K and b.

    The error is below 5%, and up to 10% where k-means turns many of the K weights into zeros
    (b = 1, or K near all weights). The rows and columns of the weights are taken into account: K
    weights in few rows cost less than K scattered weights. A table of 30 × 8 costs takes about
    half a second for a tensor of any size.

    Args:
        tensor: floating point, of any shape, dense or pruned.
        keep_counts: each K, at least 0; a K above the number of non-zeros means all of them.
        bits: each b, from 1 to 8; the codebook is k-means with a free zero, as in `Codebook`.

    Returns:
        costs in bits, (number of K, number of b).

    Raises:
        ValueError: bits or counts are out of range, or weights are NaN or infinite.
    """
    _check(tensor, keep_counts, bits)
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    alive = int(torch.count_nonzero(flat))
    counts = np.minimum(np.asarray(keep_counts, dtype=np.int64), alive)
    anchors = _anchors(counts)
    order = _by_magnitude(flat, int(counts.max()))
    kind = NUMBERS[place_of(tensor.dtype)]
    coded = np.array([_codes(flat, order[:k], bits, kind) for k in anchors])
    stays, codes = (_between(counts, anchors, each) for each in coded.transpose(1, 0, 2))
    return _positions(order, stays, tuple(tensor.shape)) + codes


def _check(tensor: Tensor, keep_counts: Sequence[int], bits: Sequence[int]) -> None:
    if not len(bits) or not all(1 <= b <= _MOST_BITS for b in bits):
        raise ValueError(f"bits were given as {list(bits)}; give numbers from 1 to {_MOST_BITS}.")
    if not len(keep_counts) or min(keep_counts) < 0:
        raise ValueError(f"keep_counts were given as {list(keep_counts)}; give numbers from 0.")
    if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
        raise ValueError("The tensor holds integers, NaN or infinities; give finite floats.")


def _anchors(counts: _Index) -> _Index:
    """Some of the counts, both ends included, at smaller relative distances where they are high.

    At high counts k-means turns weights into zeros, and costs are no longer smooth.
    """
    every = np.unique(counts)
    low, high = every[[0, -1]] ** _SPACING
    wanted = np.linspace(low, high, _ANCHORS) ** (1 / _SPACING)
    middles = (every[1:] + every[:-1]) / 2
    return every[np.unique(np.searchsorted(middles, wanted))]


def _between(counts: _Floats | _Index, anchors: _Index, values: _Floats) -> _Floats:
    """Interpolate each column of ``values`` from the anchors to the counts."""
    return np.stack([np.interp(counts, anchors, column) for column in values.T], axis=1)


def _by_magnitude(flat: Tensor, count: int) -> _Index:
    """Flat positions of the ``count`` largest magnitudes, in descending order."""
    size = flat.abs().double().numpy()
    largest = np.argpartition(-size, count - 1)[:count] if 0 < count < len(size) else size.argsort()
    return largest[np.argsort(-size[largest], kind="stable")][:count]


def _positions(order: _Index, stays: _Floats, shape: tuple[int, ...]) -> _Floats:
    """Bits of the positions of the first ``stays`` elements of ``order``.

    The ratio to the cost of equally many scattered positions changes slowly with the count, so the
    ratio is interpolated.
    """
    cells = int(np.prod(shape, dtype=np.int64))
    counts = np.minimum(stays.ravel(), np.ceil(_FULLEST * cells))
    anchors = _anchors(counts.round().astype(np.int64))
    exact = np.array([positions.cost_bits(order[:k], shape) for k in anchors])
    plain = positions.run_bits(anchors.astype(np.float64), cells)
    ratio = np.interp(stays, anchors, exact / np.maximum(plain, 1.0))
    found: _Floats = ratio * positions.run_bits(stays.ravel(), cells).reshape(stays.shape)
    return found


def _codes(flat: Tensor, index: _Index, bits: Sequence[int], kind: Number) -> _Floats:
    """For each b: the weights that k-means leaves non-zero, and the bits of their values."""
    if not len(index):
        return np.zeros((2, len(bits)))
    some = np.sort(index[:: -(-len(index) // _SAMPLE)])
    sample = flat[torch.from_numpy(some)]
    more = len(index) / len(some)
    each = sketches(sample, (1 << b for b in bits))
    return np.array([_coded(sketch, more, kind) for sketch in each]).T


def _coded(sketch: Tensor, more: float, kind: Number) -> tuple[float, float]:
    codes = kind.patterns(sketch)
    codes = codes[codes != 0]
    out = Writer()
    values.write(out, codes, kind)
    return len(codes) * more, out.cost_bits + _beyond(codes, more)


def _beyond(codes: NDArray[np.unsignedinteger], more: float) -> float:
    """Bits of the codes outside the sample: their entropy and the cost of learning it."""
    _, seen = np.unique(codes, return_counts=True)
    return (more - 1) * histogram_bits(seen) + 0.5 * (len(seen) - 1) * float(np.log2(more))
