"""A run folder: the file that ships, the other rows' files, the report, the picture."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from hauberk import networks
from hauberk.artifact import About, Artifact
from hauberk.dataset import Data, settled
from hauberk.evaluation import Evaluation, Progress, Row, Shipped, silent
from hauberk.onnx.attackable import agree
from hauberk.onnx.export import trace
from hauberk.onnx.file import OnnxFile
from hauberk.onnx.session import Session
from hauberk.training.run import Run


@dataclass(frozen=True)
class Opened:
    """A file that ships, read and checked.

    Attributes:
        path: of the file.
        holds: what it says of itself.
        replay: the graph of an ``.onnx`` in torch.
        session: the same in ONNX Runtime.
    """

    path: Path
    holds: Artifact | OnnxFile
    replay: nn.Module | None = None
    session: Session | None = None

    @property
    def about(self) -> About:
        """What the file says of the network."""
        return self.holds.about

    @property
    def int8(self) -> bool:
        """Whether the file computes in eight bits."""
        return isinstance(self.holds, OnnxFile) and self.holds.int8

    def nets(self, model: nn.Module | None) -> tuple[nn.Module, nn.Module | None]:
        """What the file computes, as torch, and the dense net of the same shape, where known."""
        if self.replay is not None and model is None and self.about.architecture is None:
            return self.replay, None
        empty = networks.blank(self.about, self.path) if model is None else model
        dense = _dense(empty)  # before the file resizes it
        if isinstance(self.holds, Artifact):
            return self.holds.fill(empty), dense
        assert self.replay is not None
        return self.replay, dense


def read(path: Path) -> Opened:
    """An ``.hbk``, or an ``.onnx`` that hauberk exported: with its session and its twin in torch.

    Raises:
        ValueError: a damaged or foreign file, or ``hauberk[onnx]`` is missing.
        OSError: a file that cannot be read.
    """
    if path.suffix.lower() != ".onnx":
        return Opened(path, Artifact.load(path))
    file, name = OnnxFile.load(path), str(path)
    return Opened(path, file, file.twin(name), Session(file.content, name=name))


def prove(
    opened: Opened,
    data: Data,
    proof: Evaluation,
    *,
    source: nn.Module | None,
    name: str | None = None,
    model: nn.Module | None = None,
    device: torch.device | None = None,
    progress: Progress = silent,
) -> Row:
    """Everything that is claimed of a file, measured on what it decodes to.

    An ``.onnx`` is asked and timed in ONNX Runtime, beside the dense net in ONNX Runtime.

    Args:
        opened: the file, from `read`.
        data: its test split is attacked.
        proof: how.
        source: the dense net, from which attacks are transferred, if it is at hand.
        name: of the row.
        model: a module to fill, or to take for the dense net of an ``.onnx``, where the file names
            no architecture.
        device: where to compute.
        progress: told of each step's share of its own work.
    """
    place = device or Run().place()
    decoded, dense = opened.nets(model)
    if opened.session is not None:
        _check_shape(opened, data)
    data = data.under(opened.holds.about.labels, opened.holds.about.classes)
    networks.check_fit(decoded, data)
    decoded, dense = decoded.to(place), dense and dense.to(place)
    examples = settled(data.test, place)
    if opened.session is not None:
        agree(opened.session, decoded, examples, int8=opened.int8)
        if dense is not None:
            dense = Session(trace(dense, data.shape).SerializeToString())
    size, whole = opened.path.stat().st_size, opened.holds.dense_bytes
    return proof(
        Shipped(str(opened.path), size, decoded, whole, opened.session),
        examples,
        dense=dense,
        source=None if source is None else copy.deepcopy(source).to(place),
        name=name,
        progress=progress,
    )


def _check_shape(opened: Opened, data: Data) -> None:
    """Refuse data of other images than a session takes."""
    if data.shape != opened.about.input_shape:
        shapes = data.shape, opened.about.input_shape
        have, want = (" × ".join(map(str, shape)) for shape in shapes)
        raise ValueError(
            f"{opened.path} takes images of {want} and those of {data.name} are {have}; "
            "give data of the shape that the network was trained on."
        )


def _dense(model: nn.Module) -> nn.Module:
    """The same net at full size with no weight zero: what latency is compared with."""
    twin = copy.deepcopy(model)
    for p in twin.parameters():
        nn.init.normal_(p, std=0.01)
    return twin
