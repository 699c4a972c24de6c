"""A run folder: the file that ships, the other rows' files, the report, the picture."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from hauberk import api
from hauberk.artifact import Artifact
from hauberk.evaluate import (
    Progress,
    Proof,
    Report,
    Row,
    Shipped,
    provenance,
    silent,
    tradeoff,
)
from hauberk.solve import Run
from hauberk.types import Data


def prove(
    path: Path,
    data: Data,
    proof: Proof,
    *,
    source: nn.Module | None,
    name: str | None = None,
    model: nn.Module | None = None,
    device: torch.device | None = None,
    progress: Progress = silent,
) -> Row:
    """Everything that is claimed of the file at ``path``, measured on what it decodes to.

    Args:
        path: an ``.hbk`` file.
        data: its test split is attacked.
        proof: how.
        source: the dense net, from which attacks are transferred as a check, if it is at hand.
        name: of the row.
        model: a module to fill, where the file names no architecture.
        device: where to compute.
        progress: told of each step's share of its own work.
    """
    artifact = Artifact.load(path)
    place = device or Run().place()
    empty = api.blank(artifact, path) if model is None else model
    dense = _dense(empty)  # before the file resizes it
    decoded = artifact.fill(empty)
    api.check_fit(decoded, data)
    shipped = Shipped(str(path), artifact.nbytes, decoded.to(place), artifact.dense_bytes)
    return proof(
        shipped,
        data.test.to(place),
        dense=dense.to(place),
        source=None if source is None else copy.deepcopy(source).to(place),
        name=name,
        progress=progress,
    )


def _dense(model: nn.Module) -> nn.Module:
    """The same net at full size with no weight zero: what latency is compared with."""
    twin = copy.deepcopy(model)
    for p in twin.parameters():
        nn.init.normal_(p, std=0.01)
    return twin


def publish(
    out: Path, rows: list[Row], data: Data, seed: int, device: torch.device, title: str = ""
) -> Report:
    """Write ``report.json``, ``report.md`` and ``tradeoff.png`` into the folder."""
    command = " ".join(["hauberk", *sys.argv[1:]])
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
