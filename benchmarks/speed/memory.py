"""Claim: above a bare PGD training loop, a training step holds at most 3.5 times in memory what it
trains. U V + C trains 2.1 times the weights, which a bare loop would hold four times as well; in
copies of the weights themselves it is 9.2 to 9.5 above.

    python benchmarks/speed/memory.py            (--small: 11 M weights alone)

The contestants and the bare loop of `step.py`. Each is a process of its own that makes five steps
at batch 4, so that activations are small beside the weights; its peak of resident memory is read
from /proc (Linux), as `getrusage` begins with that of the process which started it. Freed blocks go
back to the system at once (MALLOC_MMAP_THRESHOLD_): by itself the C library keeps some, up to a
copy of the weights where the network was traced first, as ADMM's is.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from _bench import flags, publish
from step import SEED, TARGETS, contestant

NETS, MOST = ("11 M", "21 M"), 3.5
"""Below, the library itself is larger than the weights."""
WIDTH, BARE_HOLDS = 4, 4
"""Bytes of a number; how many of each a bare loop holds: its value, gradient and two moments."""


def peak(name: str, net: str) -> tuple[int, int]:
    """Bytes of this process's resident memory, once it has made five steps; numbers it trains."""
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
        peaks = {name: pool.submit(peak, name, net).result() for name in ["bare", *TARGETS]}
    bare, weights = peaks.pop("bare")
    found: dict[str, dict[str, float]] = {"over_weights": {}, "over_trained": {}}
    for name, (high, trained) in peaks.items():
        same = bare + BARE_HOLDS * WIDTH * (trained - weights)  # a bare loop with as many numbers
        found["over_weights"][name] = round((high - bare) / (WIDTH * weights), 2)
        found["over_trained"][name] = round((high - same) / (WIDTH * trained), 2)
    return found


def main() -> None:
    given = flags(__doc__)
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(1 << 16)
    found = {}
    for net in NETS[: 1 if given.small else None]:
        found[net] = {**above_bare(net), "target": MOST}
        print(net, found[net], flush=True)
    publish(__file__, __doc__, found, given.small, SEED)


if __name__ == "__main__":
    main()
