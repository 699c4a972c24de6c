"""The ``keep`` largest scores of a whole tree: ``argmax_m Σ m·s  s.t.  m ∈ {0, 1}ⁿ, Σ m = keep``.

Selection by bracketing (Floyd & Rivest 1975, "Expected time bounds for selection"): order
statistics of a small sample bracket the threshold, one pass keeps what lies in the bracket. The
sample is strided, hence deterministic, and decides only the speed: the answer is always exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce

import torch
from torch import Tensor

from hauberk.types import Weights

_DIRECT = 1 << 15  # a pool this small is handed to kthvalue
_SAMPLE = 1 << 13
_DEVIATIONS = 4.0  # half width of the bracket, in standard deviations of the sample's rank


@torch.no_grad()
def keep_largest(scores: Weights, keep: int) -> dict[str, Tensor]:
    """``argmax Σ m·s`` over boolean masks with exactly ``keep`` entries True in the whole tree.

    Ties go to the lowest name, then to the lowest flat index; the order of the tree's keys does
    not matter. O(n) time; memory for the masks and a small share of the scores.

    Args:
        scores: any shapes, one device.
        keep: how many entries survive; values outside ``[0, n]`` are clipped to it.

    Raises:
        ValueError: where a score is NaN.
    """
    dtype = reduce(torch.promote_types, (s.dtype for s in scores.values()), torch.bfloat16)
    flat = {name: scores[name].flatten().to(dtype) for name in sorted(scores)}
    _refuse_nan(flat)
    total = sum(s.numel() for s in flat.values())
    if keep <= 0 or keep >= total:
        return {name: torch.full_like(s, keep > 0, dtype=torch.bool) for name, s in scores.items()}
    threshold = _kth_largest(list(flat.values()), keep)
    masks = {name: s >= threshold for name, s in flat.items()}
    surplus = _count(masks.values()) - keep
    if surplus:
        _drop_last_ties(masks, flat, threshold, surplus)
    return {name: masks[name].view(s.shape) for name, s in scores.items()}


def _refuse_nan(flat: Mapping[str, Tensor]) -> None:
    filled = {name: s for name, s in flat.items() if s.numel()}
    if not filled:
        return
    peaks = torch.stack([s.max() for s in filled.values()])  # max passes NaN on: one read
    if bool(peaks.isnan().any()):
        name = next(n for n, s in filled.items() if bool(s.max().isnan()))
        raise ValueError(
            f"the scores of {name!r} hold NaN, and only numbers can be ranked: "
            "look for a diverged step before this one, or lower the learning rate"
        )


def _count(masks: Iterable[Tensor]) -> int:
    return int(torch.stack([torch.count_nonzero(m) for m in masks]).sum())


def _kth_largest(pool: list[Tensor], rank: int) -> Tensor:
    """The ``rank``-th largest value (1 is the largest) of all tensors in ``pool``."""
    while sum(p.numel() for p in pool) > _DIRECT:
        low, high = _bracket(pool, rank)
        above = [p > high for p in pool]
        from_low = [p >= low for p in pool]
        n_above, n_from_low = _count(above), _count(from_low)
        if rank <= n_above:
            pool = [p[m] for p, m in zip(pool, above, strict=True)]
        elif rank > n_from_low:
            pool, rank = [p[~m] for p, m in zip(pool, from_low, strict=True)], rank - n_from_low
        else:
            rank -= n_above
            pool = [p[a ^ f] for p, a, f in zip(pool, above, from_low, strict=True)]
            n_high = _count([p == high for p in pool])
            if rank <= n_high:
                return high
            n_above_low = _count([p > low for p in pool])
            if rank > n_above_low:
                return low
            pool, rank = [p[(p > low) & (p < high)] for p in pool], rank - n_high
    return torch.cat(pool).sort(descending=True).values[rank - 1]


def _bracket(pool: list[Tensor], rank: int) -> tuple[Tensor, Tensor]:
    """Two values of the pool that very likely enclose the ``rank``-th largest."""
    total = sum(p.numel() for p in pool)
    stride = max(1, total // _SAMPLE)
    sample = torch.cat([p[::stride] for p in pool]).sort(descending=True).values
    share, n = rank / total, len(sample)
    slack = _DEVIATIONS * (share * (1 - share) * n) ** 0.5 + 2
    first = min(max(int(share * n - slack), 0), n - 1)
    last = min(max(int(share * n + slack), 0), n - 1)
    return sample[last], sample[first]


def _drop_last_ties(
    masks: dict[str, Tensor], flat: Mapping[str, Tensor], threshold: Tensor, surplus: int
) -> None:
    """Clear the last ``surplus`` entries equal to the threshold, in place."""
    for name in reversed(list(flat)):
        ties = (flat[name] == threshold).nonzero().flatten()
        drop = ties[max(0, len(ties) - surplus) :]
        masks[name][drop] = False
        surplus -= len(drop)
        if not surplus:
            return
