"""A small sweep, whose every form must come to the same table."""

from __future__ import annotations

import json
from pathlib import Path

NAMES = [f"{method}-3%-seed{seed}" for method in ("atmc", "al0") for seed in (0, 1)]


def words(start: Path, out: Path, *others: str, seeds: str = "0,1") -> list[str]:
    """ATMC, and AL0 at a learning rate that cannot work, for each seed."""
    return [
        "sweep", "--from", str(start / "dense.hbk"), "--data", str(start / "few.npz"), "--threat",
        "linf:0.1", "--methods", "atmc,al0", "--sizes", "3%", "--seeds", seeds, "--epochs", "1",
        "--codebook-epochs", "1", "--batch-size", "16", "--attack-steps", "1", "--bits", "3",
        "--al0.lr", "1e30", "--attack", "fgsm", "--limit", "10", "--threads", "1",
        "--out", str(out), *others,
    ]  # fmt: skip


def table(out: Path) -> list[dict[str, object]]:
    return json.loads((out / "sweep.json").read_text())["rows"]


def sameness(out: Path) -> list[tuple[object, ...]]:
    """All of a table but how long things took, and the bytes of each file."""

    def told(row: dict[str, object]) -> dict[str, object]:
        bare = {k: v for k, v in row.items() if k not in ("seconds", "report", "dense")}
        report = row["report"] or {}
        return bare | {k: report.get(k) for k in ("bytes", "clean", "robust", "attacks")}

    files = [out / str(row["name"]) / "model.hbk" for row in table(out)]
    return [
        (told(row), file.read_bytes() if file.exists() else b"")
        for row, file in zip(table(out), files, strict=True)
    ]
