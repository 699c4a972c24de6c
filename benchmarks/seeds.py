"""Several seeds of one row: their mean and standard deviation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hauberk.evaluation import spread


def by_seeds(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The rows that did not fail and name a seed, ``…, seed 1…``, by their names without it."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        name, seeds = re.subn(r", seed \d+", "", row["name"])
        if seeds and "failed" not in row:
            found.setdefault(name, []).append(row)
    return found


def whole_split(row: Mapping[str, Any]) -> float:
    """Clean accuracy on every test image."""
    return float((row.get("clean_split") or row["clean"])["accuracy"])


def attacked(row: Mapping[str, Any]) -> float:
    """Clean accuracy on the images that the first attack was given."""
    return float(row["clean"]["accuracy"])


def over_seeds(
    rows: Iterable[dict[str, Any]], clean: Callable[[Mapping[str, Any]], float] = whole_split
) -> dict[str, Any]:
    """By name: bytes, seconds; clean accuracy and under each attack, mean and deviation.

    Args:
        rows: finished ones.
        clean: which of a row's clean accuracies, `whole_split` or `attacked`.
    """
    return {
        name: {
            "bytes": [row["bytes"] for row in same],
            "train_seconds": [row["train_seconds"] for row in same],
            "clean": spread([clean(row) for row in same]),
            "attacks": {
                attack: spread([row["attacks"][attack]["accuracy"] for row in same])
                for attack in same[0]["attacks"]
            },
        }
        for name, same in by_seeds(rows).items()
    }
