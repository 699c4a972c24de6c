"""Claim: above a bare PGD training loop a training step of any method holds at most 3.31 times the
memory of what it trains, at 11 M and 21 M weights (aim: 3.5). In copies of the weights U V + C,
which trains 2.1 times as many numbers, is 9.51 and 9.16 above.

    python -m benchmarks.speed.memory            (--small: 11 M weights alone)

Setting: the contestants of `contestants.py`, each a process of its own that makes five steps at
batch 4, so that activations are small next to the weights. Peaks of resident memory are read from
/proc (Linux), since `getrusage` begins with the peak of the parent process. Freed blocks return to
the system at once (MALLOC_MMAP_THRESHOLD_): by itself the C library keeps up to one copy of the
weights where the network was traced, as ADMM's is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks.speed.contest import parse, parser, publish
from benchmarks.speed.contestants import METHODS, SEED, contestant

NETS, MOST = ("11 M", "21 M"), 3.5
"""With fewer weights the library itself is larger than they are."""
WIDTH, BARE_HOLDS = 4, 4
"""Bytes of a number; how many of each a bare loop holds: value, gradient and two moments."""


def peak(name: str, net: str) -> tuple[int, int]:
    """Bytes of this process's resident memory after five steps; the numbers that it trains."""
    torch.set_num_threads(1)
    run, trained = contestant(name, net, 4, 1)
    for _ in range(5):
        run()
    lines = Path("/proc/self/status").read_text().splitlines()
    high = next(line for line in lines if line.startswith("VmHWM:"))
    return 1024 * int(high.split()[1]), sum(p.numel() for p in trained.parameters())


def above_bare(net: str) -> dict[str, dict[str, float]]:
    """Peaks above the bare loop's: in copies of the weights, and of what is trained."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        peaks = {name: pool.submit(peak, name, net).result() for name in ("bare", *METHODS)}
    bare, weights = peaks.pop("bare")
    found: dict[str, dict[str, float]] = {"over_weights": {}, "over_trained": {}}
    for name, (high, trained) in peaks.items():
        same = bare + BARE_HOLDS * WIDTH * (trained - weights)  # a bare loop with as many numbers
        found["over_weights"][name] = round((high - bare) / (WIDTH * weights), 2)
        found["over_trained"][name] = round((high - same) / (WIDTH * trained), 2)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Measure each net."""
    given = parse(parser(__doc__), argv)
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(1 << 16)
    found = {}
    for net in NETS[: 1 if given.small else None]:
        found[net] = {**above_bare(net), "target": MOST}
        print(net, found[net], flush=True)
    publish(__file__, __doc__, found, given.small, SEED)


if __name__ == "__main__":
    main()
