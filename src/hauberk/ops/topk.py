"""The ``keep`` largest of a whole tree: ``argmax_m Σ m·s  s.t.  m ∈ {0, 1}ⁿ, Σ m = keep``.

Selection by bracketing (Floyd & Rivest 1975, "Expected time bounds for selection"): order
statistics of a small sample bracket the threshold, one pass keeps what lies in the bracket. The
sample is strided, hence deterministic, and decides only the speed: the answer is always exact.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from hauberk.types import Weights

_DIRECT = 1 << 15  # a pool this small is sorted
_SAMPLE = 1 << 13
_FEW = 0.25  # above this fraction of survivors masks are faster
_MARGIN = 1e-3  # of a floor, below the bracket's end: what equals it is ranked with the others
_DEVIATIONS = 4.0  # half width of the bracket, in standard deviations of the sample's rank


@torch.no_grad()
def keep_largest(scores: Weights, keep: int) -> dict[str, Tensor]:
    """``argmax Σ m·s`` over boolean masks with exactly ``keep`` entries True in the whole tree.

    Ties go to the lowest name, then to the lowest flat index; the order of the tree's keys does
    not matter. O(n) time and memory: one copy of the scores, the masks, and little else.

    Args:
        scores: floats of any shapes, on one device.
        keep: how many entries survive; values outside ``[0, n]`` are clipped to it.

    Raises:
        ValueError: where a score is NaN.
    """
    names = sorted(scores)
    if not names:
        return {}
    flat = torch.cat([scores[name].flatten() for name in names])  # one pass each, however many
    if flat.numel() and bool(flat.max().isnan()):  # max passes NaN on
        _refuse_nan(scores)
    mask = _largest(flat, min(max(keep, 0), len(flat)))
    parts = torch.split(mask, [scores[name].numel() for name in names])
    masks = dict(zip(names, parts, strict=True))
    return {name: masks[name].view(s.shape) for name, s in scores.items()}


@torch.no_grad()
def cut_smallest(w: Weights, keep: int, scales: Mapping[str, float]) -> dict[str, Tensor]:
    """``w`` with all but its ``keep`` largest ``s_l |w|`` set to 0; ties as in `keep_largest`.

    Where few survive, the pass that copies the weights leaves out what lies below a sample's
    bracket, and only the rest, little more than ``keep``, is ranked: the time of three copies.

    Args:
        w: finite floats of any shapes, on one device.
        keep: how many entries survive; values outside ``[0, n]`` are clipped to it.
        scales: s by name, positive.
    """
    total = sum(t.numel() for t in w.values())
    cut = _cut_below(w, keep, scales) if 0 < keep < _FEW * total else None
    if cut is not None:
        return cut
    alive = keep_largest({name: t.abs() * scales[name] for name, t in w.items()}, keep)
    return {name: torch.where(alive[name], t, 0) for name, t in w.items()}


def _cut_below(w: Weights, keep: int, scales: Mapping[str, float]) -> dict[str, Tensor] | None:
    """The same by the sample's bracket; None where the sample misled."""
    floors = _floors(w, keep, scales)
    out = {name: F.hardshrink(t, floors[name]) for name, t in w.items()}  # 0 up to the floor
    places = {name: t.bool().flatten().nonzero().flatten() for name, t in out.items()}
    scores = {name: out[name].take(at).abs() * scales[name] for name, at in places.items()}
    if sum(len(at) for at in places.values()) < keep:
        return None
    alive = keep_largest(scores, keep)
    least = torch.cat([s[alive[name]] for name, s in scores.items()]).min()
    lost = [s.new_tensor(floors[name]) * scales[name] for name, s in scores.items()]
    if bool(least <= torch.stack(lost).max()):  # something left out might have won
        return None
    for name, t in out.items():
        rest = places[name][~alive[name]]
        t.put_(rest, t.new_zeros(()).expand(rest.shape))
    return out


def _floors(w: Weights, keep: int, scales: Mapping[str, float]) -> dict[str, float]:
    """Magnitudes, one for each tensor, that very likely lie just below the smallest survivor."""
    total = sum(t.numel() for t in w.values())
    step = max(1, total // _SAMPLE)
    places = {name: torch.arange(0, t.numel(), step, device=t.device) for name, t in w.items()}
    sample = torch.cat([t.take(places[name]).abs() * scales[name] for name, t in w.items()])
    low = float(_bracket(sample, keep / total)[0])
    return {name: low / scales[name] * (1 - _MARGIN) for name in w}


def _refuse_nan(scores: Mapping[str, Tensor]) -> None:
    name = next(n for n, s in scores.items() if bool(s.isnan().any()))
    raise ValueError(
        f"the scores of {name!r} hold NaN, and only numbers can be ranked: "
        "look for a diverged step before this one, or lower the learning rate"
    )


def _largest(flat: Tensor, keep: int) -> Tensor:
    """The mask of the ``keep`` largest values, earlier ones first among equals."""
    if keep in (0, len(flat)):
        return torch.full_like(flat, keep > 0, dtype=torch.bool)
    threshold = _kth_largest(flat, keep)
    mask = flat >= threshold
    surplus = _count(mask) - keep
    if surplus:
        ties = (flat == threshold).nonzero().flatten()
        mask[ties[-surplus:]] = False
    return mask


def _count(mask: Tensor) -> int:
    return int(torch.count_nonzero(mask))


def _kth_largest(pool: Tensor, rank: int) -> Tensor:
    """The ``rank``-th largest value of the pool, 1 being the largest."""
    while len(pool) > _DIRECT:
        sample = pool[:: max(1, len(pool) // _SAMPLE)]
        low, high = _bracket(sample, rank / len(pool))
        above, from_low = pool > high, pool >= low
        n_above, n_from_low = _count(above), _count(from_low)
        if rank <= n_above:
            pool = pool[above]
        elif rank > n_from_low:
            pool, rank = pool[~from_low], rank - n_from_low
        else:
            pool, rank = pool[above ^ from_low], rank - n_above
            at_high, above_low = _count(pool == high), _count(pool > low)
            if rank <= at_high:
                return high
            if rank > above_low:
                return low
            pool, rank = pool[(pool > low) & (pool < high)], rank - at_high
    return pool.sort(descending=True).values[rank - 1]


def _bracket(sample: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
    """Two values that very likely enclose the smallest of the pool's largest ``fraction``."""
    sample, n = sample.sort(descending=True).values, len(sample)
    slack = _DEVIATIONS * (fraction * (1 - fraction) * n) ** 0.5 + 2
    first = min(max(int(fraction * n - slack), 0), n - 1)
    last = min(max(int(fraction * n + slack), 0), n - 1)
    return sample[last], sample[first]
