"""Claim: not measured yet; boosted, independent and jointly trained sums of `lenet:4` are to be
compared with one `lenet:4` at equal bytes, under AutoAttack on MNIST.

    python -m benchmarks.boosting_mnist --data path/to/mnist

Setting: members start from the one before, as fresh ones collapsed in a small trial; eps 0.2; 4,139
and 8,278 bytes; three seeds; AutoAttack on the first 1,000 test images, for files and, after every
round, for the dense sums ("sum of t"). A row "boosted 4, 4139B" compresses the dense sum of four;
"averaged" is independent members, "joint" members that are trained together from the start,
"single" one network. Members start from the row before, so that each round is trained once; the
seconds of a row are its own, and those of the rows that it starts from come on top. Not at equal
effort: a sum of t members trains for t times the epochs of one network before it is compressed.
Exits are measured on the same images: multiply-accumulates per image, clean, under attack, and
under an attack on the time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

import hauberk as hb
from benchmarks.recipes import (
    DENSE_24,
    LINF_02,
    PGD40_AUTOATTACK_1000,
    SEEDS,
    small_recipe,
    two_steps,
)
from benchmarks.run import run, write
from benchmarks.seeds import over_seeds
from benchmarks.table import Entry, Table
from hauberk.evaluation.exit_cost import exit_cost
from hauberk.models import EarlyExit, Ensemble
from hauberk.ops.random import generator

MODEL, SIZES, MEMBERS = "lenet:4", ("4139B", "8278B"), (2, 4, 8)
ROUND = two_steps(hb.RobustBoosting(member_start="previous").with_(epochs=12, half=False))
EXITS = Path("runs/boosting_mnist/exits.json")


def rounds(name: str, how: str, seed: int) -> Iterator[tuple[str, Entry]]:
    """One row for each number of members, each started from the one before."""
    start = f"dense, seed {seed}"
    for count in range(2, max(MEMBERS) + 1):
        method = ROUND.with_(members=count, how=how)
        row = f"{name} {count}, seed {seed}"
        yield row, Entry(method, MODEL, start, seed, measured=how == "boosted")
        start = row


def files(name: str, start: str, seed: int) -> Iterator[tuple[str, Entry]]:
    """Files of each size, of the members of each row."""
    for size in SIZES:
        for count in MEMBERS:
            method = small_recipe(hb.RobustBoosting(members=count, size=size))
            row = f"{name} {count}, {size}, seed {seed}"
            yield row, Entry(method, MODEL, f"{start} {count}, seed {seed}", seed)


def of_seed(seed: int) -> Iterator[tuple[str, Entry]]:
    """The rows of one seed."""
    yield f"dense, seed {seed}", Entry(DENSE_24, MODEL, seed=seed)
    for size in SIZES:
        single = small_recipe(hb.SizeTarget(size=size))
        yield f"single, {size}, seed {seed}", Entry(single, MODEL, f"dense, seed {seed}", seed)
    yield from rounds("sum of", "boosted", seed)
    yield from files("boosted", "sum of", seed)
    yield from rounds("mean of", "independent", seed)
    yield from files("averaged", "mean of", seed)
    for count in MEMBERS:
        row = f"together {count}, seed {seed}"
        yield row, Entry(DENSE_24, f"ensemble:{count}x{MODEL}", seed=seed, measured=False)
    yield from files("joint", "together", seed)


ENTRIES: Mapping[str, Entry] = {name: entry for seed in SEEDS for name, entry in of_seed(seed)}
TABLE = Table(
    Path("runs/boosting_mnist"), LINF_02, ENTRIES, {"robust": PGD40_AUTOATTACK_1000}, bf16=False
)


def exits(data: hb.Data) -> None:
    """The cost of early exits of every finished boosted file, on the attacked test images."""
    found = {
        name: _exit_cost(TABLE.file(name), data)
        for name in ENTRIES
        if name.startswith("boosted") and TABLE.file(name).exists()
    }
    EXITS.parent.mkdir(parents=True, exist_ok=True)
    EXITS.write_text(json.dumps(found))


def _exit_cost(path: Path, data: hb.Data) -> dict[str, float]:
    """Limits are the largest spreads on validation images, clean and attacked."""
    net = hb.load(path)
    assert isinstance(net, Ensemble)
    held_out = data.validation.first(1000)
    x, y = held_out.images(), held_out.y

    def loss(x: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(net(x), y, reduction="none")

    if len(net.members) > 1:
        attacked = hb.PGD(40)(loss, x, LINF_02, generator(0))
        net.limit(net.seen_spreads(torch.cat([x, attacked])))
    else:
        net.limit([])
    early, test = EarlyExit.bounded(net), data.test.first(1000)
    return exit_cost(early, test, LINF_02, hb.PGD(40)).json()


def publish() -> None:
    """The record."""
    summaries: dict[str, Any] = {"over_seeds": over_seeds(TABLE.rows())}
    if EXITS.exists():
        summaries["exits"] = json.loads(EXITS.read_text())
    write(TABLE, "boosting_mnist", __doc__, summaries)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, measure and publish."""
    run(TABLE, __doc__, publish, argv, after=exits)


if __name__ == "__main__":
    main()
