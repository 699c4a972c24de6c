"""Claim: a training step takes at most 1.05 times as long as a bare PGD training step for DA, AL0
and ADMM and at most 1.15 times for ATMC, with and without factors, at 430 K, 11 M and 21 M weights;
the largest is 1.10, ATMC's codebook stage at 430 K.

    python -m benchmarks.speed.step            (--small: two minutes, 430 K weights)

Setting: PGD-10, batch 128 at 430 K weights and 64 at the others, processor time of one thread, in
turns, beside other trainings: a difference of 0.04 is noise at 11 M and 21 M. The bare loop takes K
input gradients with frozen parameters, one full pass and one step of AdamW, in channels_last. Each
contestant is a stage of its method, in its middle; ADMM prunes filters, and its update of Z and U,
once in hundreds of steps, is not timed. At 430 K weights codebooks and factors take a fixed 30 ms.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.speed.contest import SPEED, Times, alternate, digits, over, parse, parser, publish
from benchmarks.speed.contestants import METHODS, NETS, SEED, contestant

TARGETS = {
    "DA": 1.05,
    "AL0": 1.05,
    "ATMC": 1.15,
    "ATMC codebook": 1.15,
    "ATMC UVC": 1.15,
    "ADMM": 1.05,
}


def beyond(times: Times, name: str) -> float:
    """Seconds above the bare loop's: what a larger batch or more attack steps do not change."""
    pairs = zip(times[name], times["bare"], strict=True)
    return statistics.median(a - b for a, b in pairs)


def measure(net: str, size: int, steps: int, repeats: int) -> dict[str, Any]:
    """Each method's step over the bare loop's, turn by turn."""
    runs = {name: contestant(name, net, size, steps)[0] for name in ("bare", *METHODS)}
    times = alternate(runs, repeats)
    return {
        "batch": size,
        "attack_steps": steps,
        "over_bare": {name: digits(over(times, name, "bare")) for name in METHODS},
        "target": TARGETS,
        "seconds": {name: digits(statistics.median(t)) for name, t in times.items()},
        "beyond_bare_seconds": {name: digits(beyond(times, name), 2) for name in METHODS},
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure each net; nets that are left out keep their last figures."""
    options = parser(__doc__)
    options.add_argument("--nets", nargs="+", choices=NETS, help="by default all; --small: 430 K")
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--steps", type=int, default=10, help="of the training attack")
    given = parse(options, argv)
    before, found = SPEED / "step.json", dict[str, Any]()
    if not given.small and before.exists():
        results = json.loads(before.read_text())["results"]
        found = {net: row for net, row in results.items() if net in NETS}
    for net in given.nets or list(NETS)[: 1 if given.small else None]:
        repeats = given.repeats or (5 if given.small else 9)
        found[net] = measure(net, given.batch, given.steps, repeats)
        print(net, found[net], flush=True)
    publish(__file__, __doc__, found, given.small, SEED)


if __name__ == "__main__":
    main()
