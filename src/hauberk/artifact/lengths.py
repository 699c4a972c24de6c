"""Lengths of tensors in a file: exact for given values, and Σ_l bits(K, b) for a plan.

``bits`` runs the writer without its stack of words, so it is the stream's length itself. ``price``
looks at what a tensor would cost with only its K largest weights left, in a codebook of 2ᵇ values,
for many (K, b) at once: a rate–distortion planner asks for all of them.

Departure from the writer in ``price``: positions are priced from counts, values from a sample, and
K between anchors by interpolation.
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
"""Kept counts that are looked at; those between them are interpolated."""
_SPACING = 1 / 6
_FULLEST = 63 / 64
"""A fuller tensor has hardly any positions to code, and says nothing of their structure."""
_SAMPLE = 1 << 12
"""Kept weights that stand for all of them when values are priced."""
_MOST_BITS = 8


def bits(value: Tensor | Factors) -> float:
    """The length of ``value`` in a file's stream, in bits, exact to rounding.

    Its name and shape, and the file's header, come on top. Half a second
    for 11 M dense weights, less for sparse ones.

    Raises:
        ValueError: it holds NaN or infinities, or is of a type that a file does not hold.
    """
    out = Writer()
    codec.write(out, "the tensor", value)
    return out.cost_bits


@torch.no_grad()
def price(tensor: Tensor, keep_counts: Sequence[int], bits: Sequence[int]) -> _Floats:
    """`bits` of ``tensor`` with its K largest weights in 2ᵇ values, for each K and b, within 5%.

    The weights' rows and columns count: K weights in few rows cost less than K anywhere. Mostly
    nearer; up to 10% off where k-means turns many of the K into zeros: at b = 1, or K near all.
    30 × 8 prices take about half a second, whatever the tensor's size.

    Args:
        tensor: floating point, of any shape, dense or already pruned.
        keep_counts: each K, from 0; more than the non-zeros is all of them.
        bits: each b, from 1 to 8; the codebook is k-means with zero free, as `Codebook` has it.

    Returns:
        in bits, (number of K, number of b).

    Raises:
        ValueError: bits or counts outside of what is allowed; NaN or infinite weights.
    """
    _check(tensor, keep_counts, bits)
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    alive = int(torch.count_nonzero(flat))
    counts = np.minimum(np.asarray(keep_counts, dtype=np.int64), alive)
    anchors = _anchors(counts)
    order = _by_magnitude(flat, counts.max())
    kind = NUMBERS[place_of(tensor.dtype)]
    coded = np.array([_codes(flat, order[:k], bits, kind) for k in anchors])
    stays, codes = (_between(counts, anchors, each) for each in coded.transpose(1, 0, 2))
    return _positions(order, stays, tuple(tensor.shape)) + codes


def _check(tensor: Tensor, keep_counts: Sequence[int], bits: Sequence[int]) -> None:
    if not len(bits) or not all(1 <= b <= _MOST_BITS for b in bits):
        raise ValueError(f"bits were given as {list(bits)}; give numbers from 1 to {_MOST_BITS}.")
    if not len(keep_counts) or min(keep_counts) < 0:
        raise ValueError("a kept count is missing or below 0; give counts from 0.")
    if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
        raise ValueError("the tensor to price is not of finite floats; give finite weights.")


def _anchors(counts: _Index) -> _Index:
    """Some of the counts, the ends among them: nearer together, in proportion, where they are high.

    Up there k-means begins to turn weights into zeros, and prices bend.
    """
    every = np.unique(counts)
    low, high = every[[0, -1]] ** _SPACING
    wanted = np.linspace(low, high, _ANCHORS) ** (1 / _SPACING)
    middles = (every[1:] + every[:-1]) / 2
    return every[np.unique(np.searchsorted(middles, wanted))]


def _between(counts: _Floats | _Index, anchors: _Index, values: _Floats) -> _Floats:
    """Each column of ``values`` at the counts, from what it is at the anchors."""
    return np.stack([np.interp(counts, anchors, column) for column in values.T], axis=1)


def _by_magnitude(flat: Tensor, count: int) -> _Index:
    """Flat positions of the ``count`` largest, from the largest on."""
    size = flat.abs().double().numpy()
    largest = np.argpartition(-size, count - 1)[:count] if 0 < count < len(size) else size.argsort()
    return largest[np.argsort(-size[largest], kind="stable")][:count]


def _positions(order: _Index, stays: _Floats, shape: tuple[int, ...]) -> _Floats:
    """Bits of where the first so many of ``order`` stand.

    Over the bits of as many anywhere they change slowly: that ratio is what is interpolated.
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
    """For each b: how many of these weights k-means leaves non-zero, and what their values cost."""
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
    """Bits of the codes that the sample stands for: their entropy, and the cost of learning it."""
    _, seen = np.unique(codes, return_counts=True)
    return (more - 1) * histogram_bits(seen) + 0.5 * (len(seen) - 1) * float(np.log2(more))
