"""A run folder: the file that ships, the other rows' files, the report, the picture."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from hauberk import api
from hauberk.artifact import Artifact, OnnxFile, Session
from hauberk.artifact.graph import trace
from hauberk.evaluate import (
    Progress,
    Proof,
    Report,
    Row,
    Shipped,
    agree,
    provenance,
    silent,
    tradeoff,
)
from hauberk.solve import Run
from hauberk.types import Data


def read(path: Path) -> tuple[Artifact, Session | None]:
    """What the file holds; for an ``.onnx`` its artifact and the session that runs it.

    Raises:
        ValueError: a damaged or foreign file, or ``hauberk[onnx]`` is missing.
        OSError: a file that cannot be read.
    """
    if path.suffix.lower() != ".onnx":
        return Artifact.load(path), None
    file = OnnxFile.load(path)
    return file.artifact, Session(file.content, name=str(path))


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

    An ``.onnx`` is asked and timed in ONNX Runtime, beside the dense net in ONNX Runtime.

    Args:
        path: an ``.hbk`` file, or an ``.onnx`` that hauberk exported.
        data: its test split is attacked.
        proof: how.
        source: the dense net, from which attacks are transferred as a check, if it is at hand.
        name: of the row.
        model: a module to fill, where the file names no architecture.
        device: where to compute.
        progress: told of each step's share of its own work.
    """
    artifact, session = read(path)
    place = device or Run().place()
    empty = api.blank(artifact, path) if model is None else model
    dense: nn.Module = _dense(empty)  # before the file resizes it
    decoded = artifact.fill(empty)
    api.check_fit(decoded, data)
    if session is not None:
        _check_session(session, decoded, artifact.input_shape, data)
    size, decoded, dense = path.stat().st_size, decoded.to(place), dense.to(place)
    if session is not None:
        dense = Session(trace(dense, artifact.input_shape).SerializeToString())
    return proof(
        Shipped(str(path), size, decoded, artifact.dense_bytes, session),
        data.test.to(place),
        dense=dense,
        source=None if source is None else copy.deepcopy(source).to(place),
        name=name,
        progress=progress,
    )


def _check_session(
    session: Session, twin: nn.Module, input_shape: tuple[int, ...], data: Data
) -> None:
    """Refuse a session that takes other images, or computes something else than its twin."""
    if data.shape != input_shape:
        have, want = (" × ".join(map(str, shape)) for shape in (data.shape, input_shape))
        raise ValueError(
            f"{session.name} takes images of {want} and those of {data.name} are {have}; "
            "give data of the shape that the network was trained on."
        )
    agree(session, twin, data.test)


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
