"""Claim, met by some: above a bare PGD training loop, a training step holds at most 3.5 times the
weights in memory. DA, AL0 and ATMC under its falling budget do; ATMC's codebooks (up to 4.1), ADMM
(6.6) and U V + C (11.4) hold more.

    python benchmarks/speed/memory.py            (--small: 11 M weights alone)

The contestants and the bare loop of `step.py`. Each is a process of its own that makes five steps
at batch 4, so that activations are small beside the weights; its peak of resident memory is read
from /proc (Linux), as `getrusage` begins with that of the process which started it.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from _bench import flags, publish
from step import SEED, TARGETS, contestant, model

NETS, MOST = ("11 M", "21 M"), 3.5
"""Below, the library itself is larger than the weights."""


def peak_bytes(name: str, net: str) -> int:
    """Of this process's resident memory, once it has made five steps."""
    torch.set_num_threads(1)
    run = contestant(name, net, 4, 1)
    for _ in range(5):
        run()
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])


def above_bare(net: str) -> dict[str, float]:
    """Peaks above the bare loop's, in copies of the weights."""
    weights = 4 * sum(p.numel() for p in model(net).parameters())
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        peaks = {name: pool.submit(peak_bytes, name, net).result() for name in ["bare", *TARGETS]}
    return {name: round((peaks[name] - peaks["bare"]) / weights, 2) for name in TARGETS}


def main() -> None:
    given = flags(__doc__)
    found = {}
    for net in NETS[: 1 if given.small else None]:
        found[net] = {"over_weights": above_bare(net), "target": MOST}
        print(net, found[net], flush=True)
    publish(__file__, __doc__, found, given.small, SEED)


if __name__ == "__main__":
    main()
