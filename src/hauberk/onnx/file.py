"""An exported ONNX file: compact weights, and the description of the network as metadata.

    content = graph with compact weights + metadata { hauberk.*: the facts of the .hbk's header }

ONNX Runtime computes the logits, or the images of a generator, a network without classes.
`OnnxFile.twin` replays the same graph in torch to give attacks gradients. The checksum covers every
byte. A reader trusts nothing: it parses once and refuses external data, non-standard operators and
control flow.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hauberk.artifact.artifact import Artifact
from hauberk.artifact.format import About, ArtifactError
from hauberk.onnx.agreement import Agreement
from hauberk.onnx.call import Unknown
from hauberk.onnx.compact import compact
from hauberk.onnx.export import BATCH, IMAGES_OUT, INPUT, OUTPUT, trace
from hauberk.onnx.guards import complaint, facts
from hauberk.onnx.int8 import quantize, ranges
from hauberk.onnx.metadata import CHECKSUM, OURS, about_of, described, digest, sign
from hauberk.onnx.raw import LARGEST_FILE, content_of, parsed
from hauberk.onnx.replay import Replay
from hauberk.onnx.session import Session
from hauberk.ops.random import generator
from hauberk.preparation import Size
from hauberk.runtime import files
from hauberk.slimming.slim import slim
from hauberk.types import Images

if TYPE_CHECKING:
    from onnx import ModelProto

_TOLERANCE = 1e-5
"""Tolerance for the difference from torch's output, relative to its largest value."""
_EXPORTED = "The exported network"
_BATCH = 250
"""Calibration images in a batch of a classifier."""
_PIXELS = 1 << 18
"""Pixels of the calibration images in a batch of a generator, whose activations are as large."""


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file that hauberk wrote.

    Attributes:
        content: the whole file.
        about: the artifact's description of the network, always with ``dense_bytes``; its input
            shape is that of the graph.
        opset: version of the standard operators.
        output_shape: of one image: (class,), or (channel, height, width) of a generator.
        int8: whether it computes in eight bits.
    """

    content: bytes = field(repr=False)
    about: About
    opset: int
    output_shape: tuple[int, ...]
    int8: bool

    @classmethod
    def encode(
        cls, artifact: Artifact, model: nn.Module, *, image_size: Size | None = None
    ) -> OnnxFile:
        """Export a network as ONNX, so that ``max |f_onnx − f_torch| ≤ 1e-5 max |f_torch|``.

        The bound is checked in ONNX Runtime on random inputs with batch sizes 1 and 7. A graph that
        has no replay in torch gives attacks no gradients, see `blind`.

        Args:
            artifact: the compressed file, for its description of the network.
            model: the network decoded from it; it is not modified.
            image_size: height and width of a generator's images; by default those of its training.

        Raises:
            ValueError: ``hauberk[onnx]`` is not installed, the network cannot be exported, its
                output differs in ONNX Runtime, or a classifier is given an image size.
        """
        file = cls.unchecked(artifact, model, image_size=image_size)
        _compare(file.session(_EXPORTED), model, file.about)
        return file

    @classmethod
    def encode_int8(
        cls,
        artifact: Artifact,
        model: nn.Module,
        images: Images,
        *,
        image_size: Size | None = None,
    ) -> OnnxFile:
        """Export a network in eight bits (see `hauberk.onnx.int8`).

        The file is checked on the images: ONNX Runtime and the replay in torch must agree as
        `hauberk.onnx.agreement` says. A generator loses its dead channels first (see
        `hauberk.slimming.slim`): their constants would widen the ranges of the live ones, and be
        rounded themselves. So a masked generator and the slim one give the same file. One that
        cannot be traced has no slim counterpart, and keeps them.

        Args:
            artifact: the compressed file, for its description of the network.
            model: the network decoded from it; it is not modified.
            images: a few hundred training images, (count, channel, height, width), in [0, 1], that
                calibrate the ranges of the activations.
            image_size: height and width of a generator's images; by default those of its training.

        Raises:
            ValueError: the images have another shape, ``hauberk[onnx]`` is not installed, the
                network cannot be exported, an operator has no replay in torch, or ONNX Runtime
                disagrees with the replay.
        """
        file = cls.unchecked(artifact, model, images, image_size=image_size)
        batches = _batches(images, file.about)
        session = file.session(_EXPORTED)
        fault = Agreement.of(session, file.twin(_EXPORTED), batches).complaint(_EXPORTED, True)
        if fault:
            raise ValueError(fault)
        return file

    @classmethod
    def unchecked(
        cls,
        artifact: Artifact,
        model: nn.Module,
        images: Images | None = None,
        *,
        image_size: Size | None = None,
    ) -> OnnxFile:
        """The same file before ONNX Runtime has run it; with calibration images in eight bits.

        Args:
            artifact: the compressed file, for its description of the network.
            model: the network decoded from it; it is not modified.
            images: as in `encode_int8`; None writes float32.
            image_size: height and width of a generator's images; by default those of its training.

        Raises:
            ValueError: the images have another shape, ``hauberk[onnx]`` is not installed, or the
                network cannot be exported.
        """
        _fits(model)
        about = described(artifact, image_size)
        if images is None:
            return cls._signed(trace(model, about.input_shape, output=_output(about)), about)
        if len(images) == 0 or tuple(images.shape[1:]) != about.input_shape:
            raise ValueError(
                f"The calibration images have the shape {tuple(images.shape)}; give one or more of "
                f"shape {about.input_shape}, those that the network was trained on."
            )
        if not about.classes:
            model = _slimmed(model, artifact.about.input_shape)
        graph = trace(model, about.input_shape, fold=True, output=_output(about))
        _refuse(_complaint(graph, about) or _strange(graph), about)
        quantize(graph, ranges(graph, _batches(images, about)))
        file = cls._signed(graph, about)
        _refuse(_strange(graph), about)
        return file

    @classmethod
    def _signed(cls, graph: ModelProto, about: About) -> OnnxFile:
        """The file of ``graph``, with compact weights and the network's description."""
        _refuse(_complaint(graph, about), about)
        compact(graph)
        _refuse(_complaint(graph, about), about)
        return cls(sign(graph, about), about, *facts(graph))

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "The file") -> OnnxFile:
        """The ONNX file with the bytes ``content``; errors call it ``name``.

        Raises:
            ArtifactError: the file is empty, cut off, damaged, or not written by hauberk.
            ValueError: ``hauberk[onnx]`` is not installed.
        """
        graph = parsed(content, name)
        every = {note.key: note.value for note in graph.metadata_props}
        # protobuf returns bytes for text that is not UTF-8
        notes = {
            key: text
            for key, text in every.items()
            if isinstance(key, str) and isinstance(text, str)
        }
        if CHECKSUM not in notes:
            raise ArtifactError(f"{name} was not written by hauberk; {OURS}.")
        if notes[CHECKSUM] != digest(content, notes[CHECKSUM]):
            raise ArtifactError(f"{name} was damaged or changed after its export; export it again.")
        about = about_of(notes, name)
        fault = _complaint(graph, about)
        if fault:
            raise ArtifactError(f"{name} {fault}; {OURS}.")
        return cls(content, about, *facts(graph))

    @classmethod
    def load(cls, path: str | Path) -> OnnxFile:
        """The ONNX file at ``path``.

        Raises:
            ArtifactError: the file is empty, cut off, damaged, or not written by hauberk.
            OSError: it is missing, cannot be read, or is too large.
        """
        return cls.from_bytes(content_of(Path(path)), str(path))

    def save(self, path: str | Path) -> None:
        """Write the file to ``path`` atomically.

        Raises:
            OSError: the folder cannot be written or the disk is full.
        """
        files.write(Path(path), self.content)

    def session(self, name: str = "The file", threads: int | None = None) -> Session:
        """The graph in ONNX Runtime.

        Args:
            name: subject of errors.
            threads: number of CPU threads; None means torch's number.
        """
        generates = not self.about.classes
        return Session(self.content, name=name, threads=threads, images=generates)

    def twin(self, name: str = "The file") -> Replay:
        """The same graph in torch, with gradients, in eval mode; errors call the file ``name``.

        Raises:
            ArtifactError: an operator is not supported, or weights are NaN or infinite.
        """
        try:
            twin = Replay(parsed(self.content, name)).eval()
        except Unknown as error:
            raise ArtifactError(f"{name} uses the operator {error}; {OURS}.") from error
        if not twin.finite():
            raise ArtifactError(f"{name} holds NaN or infinite weights; {OURS}.")
        return twin

    @property
    def blind(self) -> str:
        """Why attacks on the file get no gradient, as a clause; empty if they do."""
        fault = _strange(parsed(self.content, "The file"))
        return f"its graph {fault}" if fault else ""

    @property
    def dense_bytes(self) -> int:
        """Bytes of the dense net in float32, from the header."""
        assert self.about.dense_bytes is not None
        return self.about.dense_bytes

    @property
    def nbytes(self) -> int:
        """The file's size in bytes."""
        return len(self.content)

    def json(self) -> dict[str, Any]:
        """Sizes, opset, number type, inputs and outputs, for JSON."""
        image, output = [BATCH, *self.about.input_shape], [BATCH, *self.output_shape]
        return {
            "bytes": self.nbytes,
            "dense_bytes": self.dense_bytes,
            "opset": self.opset,
            "computes": "int8" if self.int8 else "float32",
            "inputs": [{"name": INPUT, "dtype": "float32", "shape": image}],
            "outputs": [{"name": _output(self.about), "dtype": "float32", "shape": output}],
        }


def _batches(images: Images, about: About) -> tuple[Images, ...]:
    """The calibration images; a generator's in fewer at a time, the larger they are."""
    size = max(_PIXELS // math.prod(about.input_shape[1:]), 1)
    return torch.split(images, _BATCH if about.classes else size)


def _slimmed(model: nn.Module, input_shape: tuple[int, ...]) -> nn.Module:
    """The model without its dead channels; the model itself if it cannot be traced."""
    try:
        return slim(model, torch.zeros(1, *input_shape))
    except ValueError:
        return model


def _output(about: About) -> str:
    return OUTPUT if about.classes else IMAGES_OUT


def _complaint(graph: ModelProto, about: About) -> str | None:
    return complaint(graph, about.input_shape, images=not about.classes)


def _fits(model: nn.Module) -> None:
    size = 4 * sum(tensor.numel() for tensor in model.state_dict().values())
    if size > LARGEST_FILE:
        raise ValueError(
            f"The network takes {size:,} bytes as an ONNX file, and the limit is "
            f"{LARGEST_FILE:,}; use the .hbk file."
        )


def _refuse(fault: str | None, about: About) -> None:
    if fault:
        outputs = "one row of logits for each" if about.classes else "images"
        raise ValueError(
            f"The network cannot be written as ONNX (its graph {fault}); give one of plain "
            f"torch layers, from images to {outputs}."
        )


def _strange(graph: ModelProto) -> str | None:
    """Why a graph has no replay in torch, and so no gradients for attacks; None if it has one."""
    try:
        Replay(graph)
    except Unknown as error:
        return f"uses the operator {error}, which has no replay in torch"
    return None


@torch.no_grad()
def _compare(session: Session, model: nn.Module, about: About) -> None:
    plain = copy.deepcopy(model).cpu().float().eval()
    for batch in (1, 7):
        x = torch.rand(batch, *about.input_shape, generator=generator(0, "onnx", batch))
        want, have = plain(x), session(x)
        apart = (want - have).abs().max() if want.shape == have.shape else torch.inf
        if not apart <= _TOLERANCE * want.abs().max():
            what = "logits" if about.classes else "images"
            raise ValueError(
                f"The exported network computes different {what} in ONNX Runtime and in torch, by "
                f"more than {_TOLERANCE:g} of the largest; nothing was written: use the .hbk file."
            )
