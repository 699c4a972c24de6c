"""Claim: from 11 M to 100 M weights the time of a projection grows with their number to the power
1.06 at most (filters; global ℓ0 0.95, codebook 1.04, byte budget 0.79; aim 1.05), that of
`torch.topk` to 1.51. Global ℓ0 takes 2.65 to 4.75 times as long as a copy (aim 2).

    python -m benchmarks.speed.growth            (--small: 0.4 and 2 M weights, two minutes)

Setting: processor time of one thread; each projection takes turns with a plain copy of the same
weights, five repeats (byte budget and Lloyd: one). The peers are `torch.topk` over all magnitudes
with a mask, and Lloyd's method (20 rounds, from evenly spread quantiles) on the N × 16 matrix of
distances, as the papers' code has it; where it would need more than 4 GB it is left out and named.
The exponent is 1 + log(t_last / t_first) / log(n_last / n_first), t a weight's time, from the first
size that no cache holds, where there are two of them; it differs by 0.03 from run to run.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.speed.contest import alternate, digits, over, parse, parser, publish
from hauberk.allocation.byte_budget import ByteBudget, Codec
from hauberk.artifact.lengths import bits, price
from hauberk.constraints import Codebook, Column, Filter, PerTensor, Sparsity

SEED, LAYERS, KEEP, VALUES = 0, 20, 0.02, 16
SIZES = {"0.4": 400_000, "11": 11_000_000, "21": 21_000_000, "100": 100_000_000, "2": 2_000_000}
MOST_MATRIX, BEYOND_CACHES = 4e9, 1_000_000
TREE = dict[str, Tensor]


def weights(count: int) -> TREE:
    """Twenty layers of unequal scale, four times as wide as high."""
    rng = torch.Generator().manual_seed(SEED)
    rows = round(math.sqrt(count / LAYERS / 4))
    return {
        f"layer{i:02d}": torch.randn(rows, 4 * rows, generator=rng) / (1 + i) for i in range(LAYERS)
    }


def topk(w: TREE) -> TREE:
    """The usual way to the global ℓ0 projection."""
    flat = torch.cat([t.flatten() for t in w.values()])
    index = flat.abs().topk(int(KEEP * len(flat)), sorted=False).indices
    kept = torch.zeros_like(flat)
    kept[index] = flat[index]
    parts = kept.split([t.numel() for t in w.values()])
    return {name: part.view_as(w[name]) for name, part in zip(w, parts, strict=True)}


def lloyd(w: TREE) -> TREE:
    """The usual way to a codebook: every distance, twenty times."""
    return {name: _lloyd(t.flatten()).view_as(t) for name, t in w.items()}


def _lloyd(x: Tensor) -> Tensor:
    at = torch.linspace(0, len(x) - 1, VALUES + 2).long()[1:-1]
    centroids = x.sort().values[at]
    for _ in range(20):
        labels = (x[:, None] - centroids).abs().argmin(1)
        sums = torch.zeros(VALUES).index_add_(0, labels, x)
        counts = torch.bincount(labels, minlength=VALUES)
        centroids = torch.where(counts > 0, sums / counts, centroids)
    return centroids[(x[:, None] - centroids).abs().argmin(1)]


def byte_budget(w: TREE) -> Callable[[TREE], Any]:
    """2% of the dense bytes."""
    codec = Codec(bits, price)
    return ByteBudget(round(0.02 * 32 * sum(t.numel() for t in w.values())), codec).project


def projections(w: TREE, budget: bool) -> tuple[dict[str, Callable[[], Any]], list[str]]:
    """The projections that are timed at this size; those that are not, with the reason."""
    largest = max(t.numel() for t in w.values())
    known: dict[str, Callable[[TREE], Any]] = {
        "copy": lambda tree: {name: t.clone() for name, t in tree.items()},
        "l0": Sparsity(KEEP).project,
        "filter": Sparsity(0.25, Filter()).project,
        "column": PerTensor(Sparsity(0.25, Column())).project,
        "codebook": Codebook(4).project,
        "torch.topk": topk,
        "N × K Lloyd": lloyd,
    }
    left_out = []
    if 12 * VALUES * largest > MOST_MATRIX:
        left_out.append(f"N × K Lloyd: more than {MOST_MATRIX / 1e9:.0f} GB")
        del known["N × K Lloyd"]
    if budget:
        known["byte budget"] = byte_budget(w)
    return {name: lambda project=project: project(w) for name, project in known.items()}, left_out


def measure(count: int, repeats: int, budget: bool) -> dict[str, Any]:
    """Nanoseconds a weight, in turns."""
    w = weights(count)
    runs, left_out = projections(w, budget)
    slow = {n: runs.pop(n) for n in ("byte budget", "N × K Lloyd") if n in runs}
    times = alternate(runs, repeats) | alternate(slow, 1, warm=False)
    n = sum(t.numel() for t in w.values())
    return {
        "weights": n,
        "left_out": left_out,
        "nanoseconds_a_weight": {
            name: digits(1e9 * statistics.median(t) / n) for name, t in times.items()
        },
        "over_copy": {name: digits(over(times, name, "copy")) for name in runs if name != "copy"},
    }


def exponents(found: Mapping[str, dict[str, Any]]) -> dict[str, float]:
    """The exponent of each projection's time, between the first size and the last."""
    rows = [row for row in found.values() if row["weights"] > BEYOND_CACHES]
    rows = rows if len(rows) > 1 else list(found.values())
    result = {}
    for name in rows[0]["nanoseconds_a_weight"]:
        times = {r["weights"]: r["nanoseconds_a_weight"].get(name) for r in rows}
        timed = [(n, t) for n, t in times.items() if t]
        (n0, t0), (n1, t1) = timed[0], timed[-1]
        if n1 > n0:
            result[name] = round(1 + math.log(t1 / t0) / math.log(n1 / n0), 3)
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Measure each size."""
    options = parser(__doc__)
    options.add_argument("--sizes", nargs="+", choices=SIZES, help="in millions of weights")
    options.add_argument("--no-byte-budget", action="store_true", help="it takes minutes")
    given = parse(options, argv)
    sizes = given.sizes or (["0.4", "2"] if given.small else ["0.4", "11", "21", "100"])
    repeats = given.repeats or (3 if given.small else 5)
    found = {}
    for size in sizes:
        found[f"{size} M"] = measure(SIZES[size], repeats, not given.no_byte_budget)
        print(size, found[f"{size} M"], flush=True)
    results = {"sizes": found, "growth_exponent": exponents(found)}
    publish(__file__, __doc__, results, given.small, SEED)


if __name__ == "__main__":
    main()
