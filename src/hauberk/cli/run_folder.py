"""A run folder: the file that ships, the other rows' files, the report, the picture."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from hauberk.artifact import Artifact
from hauberk.dataset import Data
from hauberk.evaluation import Report, Row, provenance
from hauberk.plots.tradeoff import tradeoff


def publish(
    out: Path,
    rows: list[Row],
    data: Data,
    seed: int,
    device: torch.device,
    title: str = "",
    command: str = "",
) -> Report:
    """Write ``report.json``, ``report.md`` and ``tradeoff.png`` into the folder."""
    command = command or " ".join(["hauberk", *sys.argv[1:]])
    origin = provenance(command=command, seed=seed, data=data.name, device=str(device))
    report = Report(rows, origin)
    report.save(out)
    tradeoff(rows, out / "tradeoff.png", title=title)
    return report


def keep_rows(out: Path, artifacts: Mapping[str, Artifact]) -> dict[str, Path]:
    """Write the other rows' files under ``rows/``."""
    paths = {name: out / "rows" / f"{name}.hbk" for name in artifacts}
    for name, artifact in artifacts.items():
        artifact.save(paths[name])
    return paths
