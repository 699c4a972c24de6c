"""The table of a robustness target: the smallest file that meets it, beside a grid of sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import hauberk as hb

TARGETS = (0.6, 0.7, 0.8)


def methods(sizes: Sequence[str]) -> dict[str, hb.Method]:
    """The targets, and the grid of sizes: 40 epochs under the falling budget, 10 with codebooks."""
    targets: dict[str, hb.Method] = {
        f"at least {target:.0%}": hb.RobustnessTarget(robust_at_least=target) for target in TARGETS
    }
    grid = {
        f"size {size}": hb.SizeTarget(size=size, codebook_epochs=10).with_(epochs=40)
        for size in sizes
    }
    return targets | grid


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For each target: robust accuracy on the test split, bytes, and the grid's bytes for that."""
    grid = [row for row in rows if row["name"].startswith("size ") and "failed" not in row]
    by_name = {row["name"]: row for row in rows}
    table = []
    for target in TARGETS:
        row = by_name.get(f"at least {target:.0%}")
        if row is None or "failed" in row:
            continue
        robust = row["robust"]["accuracy"]
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


def at_robustness(grid: Sequence[Mapping[str, Any]], robust: float) -> dict[str, int | None]:
    """The smallest file of the grid that is as robust, and the bytes interpolated between files."""
    points = sorted((row["bytes"], row["robust"]["accuracy"]) for row in grid)
    smallest = next((size for size, reached in points if reached >= robust), None)
    between = None
    for (less, below), (more, above) in pairwise(points):
        if below < robust <= above:
            part = (robust - below) / (above - below)
            between = round(math.exp((1 - part) * math.log(less) + part * math.log(more)))
            break
    return {"smallest": smallest, "interpolated": between}
