"""The smallest file for a robustness that is asked for. On digits targets of 60, 70 and 80% give
1,383, 1,787 and 3,863 bytes, which keep 65.3, 70.6 and 81.7% of 449 test images: each target is
met, the sizes are in their order, and 30, 38 and 32% smaller than what a grid of --size runs needs
for as much, between its files. MNIST has not been run.

    python benchmarks/required_robustness.py --data digits
    python benchmarks/required_robustness.py --data ../shared/data/mnist

Digits: `digits-cnn`, eps 0.1, from a dense net of 30 epochs. MNIST: `caffe-lenet`, eps 76/255, from
the dense net of benchmarks/atmc_mnist.py and by its recipe. A row of the grid trains for 50 epochs,
a target for up to 190, as it searches. Each is written as a file and measured on the decoded one:
PGD-40, the attack that the targets speak of, on all test images. Finished rows are kept in runs/,
beside the dense nets', and not done again.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import hauberk as hb
from _series import Entry, Series
from atmc_mnist import SERIES as PAPER
from atmc_mnist import THREAT as WIDE
from atmc_mnist import short
from hauberk.evaluate import Proof

HERE = Path(__file__).parent
PGD = {"pgd:40": hb.PGD(40, track=True)}
GRID = {
    "digits": ("0.25%", "0.35%", "0.5%", "0.75%", "1%", "1.5%"),
    "mnist": ("0.125%", "0.25%", "0.5%", "1%", "2%"),
}
TARGETS = {"digits": (0.6, 0.7, 0.8), "mnist": (0.6, 0.65, 0.69)}


def rows(name: str, model: str, like: Mapping[str, Any], start: str) -> dict[str, Entry]:
    """The targets, and the grid."""
    asked = {
        f"at least {target:.0%}": hb.DistortionConstrained(robust_at_least=target)
        for target in TARGETS[name]
    }
    grid = {f"size {s}": hb.Sized(size=s, epochs=40, codebook_epochs=10) for s in GRID[name]}
    return {
        label: Entry(replace(method, **like), model, start)
        for label, method in {**asked, **grid}.items()
    }


def series(name: str) -> Series:
    """The table of these data."""
    if name == "digits":
        dense = Entry(hb.DA(epochs=30), "digits-cnn")
        entries = {"DA": dense, **rows(name, "digits-cnn", {}, "DA")}
        work, threat, said = Path("runs/required_digits"), hb.Linf(0.1), "linf:0.1"
    else:
        recipe = short(hb.Sized())
        like = {f: getattr(recipe, f) for f in ("lr", "attack_steps", "reuse", "q", "average")}
        dense = {n: PAPER.entries[n] for n in ("DA, first leg", "DA, second leg", "DA")}
        entries = {**dense, **rows(name, "caffe-lenet", like, "DA")}
        work, threat, said = PAPER.work, WIDE, "linf:76/255"
    return Series(work, threat, entries, {"pgd:40": Proof(threat, said, PGD, check_limit=0)})


def summary(name: str, found: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Of each target: what the test split shows, the bytes, and the grid's at that robustness."""
    table = []
    for target in TARGETS[name]:
        row = found.get(f"at least {target:.0%}")
        if row is None or "failed" in row:
            continue
        robust = row["robust"]["accuracy"]
        grid = [found[label] for label in (f"size {s}" for s in GRID[name]) if label in found]
        table.append(
            {
                "target": target,
                "robust": row["robust"],
                "missing_points": round(100 * max(0.0, target - robust), 2),
                "bytes": row["bytes"],
                "grid_bytes_at_that_robustness": at_robustness(grid, robust),
            }
        )
    sizes = [row["bytes"] for row in table]
    return {"targets": table, "monotone": sizes == sorted(sizes)}


def at_robustness(grid: list[dict[str, Any]], robust: float) -> dict[str, float | None]:
    """The smallest file of the grid that is as robust, and bytes between its files, if any is."""
    some = sorted((row["bytes"], row["robust"]["accuracy"]) for row in grid if "failed" not in row)
    smallest = next((size for size, reached in some if reached >= robust), None)
    between = None
    for (less, below), (more, above) in pairwise(some):
        if below < robust <= above:
            share = (robust - below) / (above - below)
            between = math.exp((1 - share) * math.log(less) + share * math.log(more))
            break
    return {"smallest": smallest, "interpolated": between and round(between)}


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--data")
    name = "digits" if parser.parse_known_args()[0].data == "digits" else "mnist"
    table = series(name)

    def publish() -> None:
        found = {row["name"]: row for row in table.finished()}
        path = HERE / "results" / f"required_robustness_{name}.json"
        table.record(path, __doc__ or "", summary=summary(name, found))

    table.main(__doc__ or "", publish)


if __name__ == "__main__":
    main()
