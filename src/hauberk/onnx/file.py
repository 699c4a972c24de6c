"""An exported ONNX file: compact weights, and the description of the network as metadata.

    content = graph with compact weights + metadata { hauberk.*: the facts of the .hbk's header }

ONNX Runtime computes the logits. `OnnxFile.twin` replays the same graph in torch to give attacks
gradients. The checksum covers every byte. A reader trusts nothing: it parses once and refuses
external data, non-standard operators and control flow.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hauberk.artifact import format
from hauberk.artifact.artifact import Artifact
from hauberk.artifact.format import About, ArtifactError
from hauberk.onnx.agreement import Agreement
from hauberk.onnx.call import Unknown
from hauberk.onnx.compact import compact
from hauberk.onnx.export import BATCH, INPUT, OUTPUT, trace
from hauberk.onnx.guards import complaint, facts
from hauberk.onnx.int8 import quantize, ranges
from hauberk.onnx.replay import Replay
from hauberk.onnx.session import Session
from hauberk.ops.random import generator
from hauberk.runtime import files
from hauberk.runtime.packages import need
from hauberk.types import Images

if TYPE_CHECKING:
    from onnx import ModelProto

VERSION = "2"
_PREFIX = "hauberk."
_CHECKSUM = f"{_PREFIX}checksum"
_BLANK = "0" * 32
_LARGEST_FILE = (1 << 31) - 1  # protobuf's limit
_TOLERANCE = 1e-5
"""Tolerance for the difference from torch's logits, relative to the largest logit."""
_EXPORTED = "The exported network"
_BATCH = 250
"""Calibration images in a batch."""
_OURS = "give an .onnx file that hauberk export wrote"


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file that hauberk wrote.

    Attributes:
        content: the whole file.
        about: the artifact's description of the network, always with ``dense_bytes``.
        opset: version of the standard operators.
        outputs: number of logits for each image.
        int8: whether it computes in eight bits.
    """

    content: bytes = field(repr=False)
    about: About
    opset: int
    outputs: int
    int8: bool

    @classmethod
    def encode(cls, artifact: Artifact, model: nn.Module) -> OnnxFile:
        """Export a network as ONNX, so that ``max |f_onnx − f_torch| ≤ 1e-5 max |f_torch|``.

        The bound is checked in ONNX Runtime on random inputs with batch sizes 1 and 7.

        Args:
            artifact: the compressed file, for its description of the network.
            model: the network decoded from it; it is not modified.

        Raises:
            ValueError: ``hauberk[onnx]`` is not installed, the network cannot be exported, or its
                logits differ in ONNX Runtime.
        """
        _fits(model)
        graph = trace(model, artifact.about.input_shape)
        file = cls._signed(graph, artifact)
        _compare(Session(file.content, name=_EXPORTED), model, artifact.about.input_shape)
        return file

    @classmethod
    def encode_int8(cls, artifact: Artifact, model: nn.Module, images: Images) -> OnnxFile:
        """Export a network in eight bits (see `hauberk.onnx.int8`).

        The file is checked on the images: ONNX Runtime and the replay in torch must agree on the
        logits to one 8-bit step, and on 99.9% of the predictions.

        Args:
            artifact: the compressed file, for its description of the network.
            model: the network decoded from it; it is not modified.
            images: a few hundred training images, (count, channel, height, width), in [0, 1], that
                calibrate the ranges of the activations.

        Raises:
            ValueError: the images have another shape, ``hauberk[onnx]`` is not installed, the
                network cannot be exported, or ONNX Runtime disagrees with the replay.
        """
        _fits(model)
        if len(images) == 0 or tuple(images.shape[1:]) != artifact.about.input_shape:
            raise ValueError(
                f"The calibration images have the shape {tuple(images.shape)}; give one or more of "
                f"shape {artifact.about.input_shape}, those that the network was trained on."
            )
        graph = trace(model, artifact.about.input_shape, fold=True)
        _refuse(complaint(graph, artifact.about.input_shape) or _strange(graph))
        batches = torch.split(images, _BATCH)
        quantize(graph, ranges(graph, batches))
        file = cls._signed(graph, artifact)
        session = Session(file.content, name=_EXPORTED)
        fault = Agreement.of(session, file.twin(_EXPORTED), batches).complaint(_EXPORTED, True)
        if fault:
            raise ValueError(fault)
        return file

    @classmethod
    def _signed(cls, graph: ModelProto, artifact: Artifact) -> OnnxFile:
        """The file of ``graph``, with compact weights and the network's description."""
        about = replace(artifact.about, dense_bytes=artifact.dense_bytes)
        _refuse(complaint(graph, about.input_shape))
        compact(graph)
        _refuse(complaint(graph, about.input_shape) or _strange(graph))
        return cls(_sign(graph, about), about, *facts(graph))

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
        notes = {key: text for key, text in every.items() if isinstance(text, str)}
        if _CHECKSUM not in notes:
            raise ArtifactError(f"{name} was not written by hauberk; {_OURS}.")
        if notes[_CHECKSUM] != _digest(content, notes[_CHECKSUM]):
            raise ArtifactError(f"{name} was damaged or changed after its export; export it again.")
        about = _about(notes, name)
        fault = complaint(graph, about.input_shape)
        if fault:
            raise ArtifactError(f"{name} {fault}; {_OURS}.")
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

    def twin(self, name: str = "The file") -> Replay:
        """The same graph in torch, with gradients, in eval mode; errors call the file ``name``.

        Raises:
            ArtifactError: an operator is not supported, or weights are NaN or infinite.
        """
        try:
            twin = Replay(parsed(self.content, name)).eval()
        except Unknown as error:
            raise ArtifactError(f"{name} uses the operator {error}; {_OURS}.") from error
        if not twin.finite():
            raise ArtifactError(f"{name} holds NaN or infinite weights; {_OURS}.")
        return twin

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
        image, logits = [BATCH, *self.about.input_shape], [BATCH, self.outputs]
        return {
            "bytes": self.nbytes,
            "dense_bytes": self.dense_bytes,
            "opset": self.opset,
            "computes": "int8" if self.int8 else "float32",
            "inputs": [{"name": INPUT, "dtype": "float32", "shape": image}],
            "outputs": [{"name": OUTPUT, "dtype": "float32", "shape": logits}],
        }


def _fits(model: nn.Module) -> None:
    size = 4 * sum(tensor.numel() for tensor in model.state_dict().values())
    if size > _LARGEST_FILE:
        raise ValueError(
            f"The network takes {size:,} bytes as an ONNX file, and the limit is "
            f"{_LARGEST_FILE:,}; use the .hbk file."
        )


def content_of(path: Path) -> bytes:
    """The bytes of an ``.onnx`` file.

    Raises:
        OSError: it is missing, cannot be read, or is too large.
    """
    return files.read(path, "an .onnx file", _LARGEST_FILE)


def is_ours(content: bytes, name: str) -> bool:
    """Whether a file's metadata state that hauberk wrote it; errors call the file ``name``.

    Raises:
        ArtifactError: the file is not an ONNX file, or is damaged.
    """
    return any(note.key == _CHECKSUM for note in parsed(content, name).metadata_props)


def _refuse(fault: str | None) -> None:
    if fault:
        raise ValueError(
            f"The network cannot be written as ONNX (its graph {fault}); give one of plain "
            "torch layers, from images to one row of logits for each."
        )


def parsed(content: bytes, name: str) -> ModelProto:
    """Parse the bytes of a file; errors call it ``name``.

    Raises:
        ArtifactError: the file is not an ONNX file, or is damaged.
        ValueError: ``hauberk[onnx]`` is not installed.
    """
    need("onnx", "onnx", "onnxruntime")
    from google.protobuf.message import DecodeError

    from onnx import ModelProto

    try:
        graph: ModelProto = ModelProto.FromString(content)
    except DecodeError:
        raise ArtifactError(
            f"{name} is damaged or not an ONNX file; get a fresh copy of it."
        ) from None
    return graph


def _strange(graph: ModelProto) -> str | None:
    """Why a graph has no replay in torch, and so no gradients for attacks; None if it has one."""
    try:
        Replay(graph)
    except Unknown as error:
        return f"uses the operator {error}, which has no replay in torch"
    return None


def _about(notes: dict[str, str], name: str) -> About:
    version = notes.get(f"{_PREFIX}version")
    if version != VERSION:
        raise ArtifactError(
            f"{name} has format version {version!r}, and this hauberk reads {VERSION!r} only; "
            "export it again."
        )
    try:
        about = format.about_of({key.removeprefix(_PREFIX): text for key, text in notes.items()})
    except ArtifactError:
        about = None
    if about is None or about.dense_bytes is None:
        raise ArtifactError(f"{name} has notes that hauberk does not write; {_OURS}.")
    return about


def _sign(graph: ModelProto, about: About) -> bytes:
    """The bytes of ``graph`` with its description and a checksum of every byte as metadata."""
    notes = {"version": VERSION, **format.facts(about), "checksum": _BLANK}
    for key, value in notes.items():
        graph.metadata_props.add(key=_PREFIX + key, value=value)
    blank: bytes = graph.SerializeToString(deterministic=True)
    return blank.replace(_mark(_BLANK), _mark(_digest(blank, _BLANK)), 1)


def _digest(content: bytes, claimed: str) -> str:
    """The checksum of ``content`` with the ``claimed`` one blanked out."""
    blank = content.replace(_mark(claimed), _mark(_BLANK), 1)
    return hashlib.blake2b(blank, digest_size=len(_BLANK) // 2).hexdigest()


def _mark(digest: str) -> bytes:
    """The checksum's key and value as protobuf serialises them."""
    return _CHECKSUM.encode() + bytes([0x12, len(_BLANK)]) + digest.encode()


@torch.no_grad()
def _compare(session: Session, model: nn.Module, input_shape: tuple[int, ...]) -> None:
    plain = copy.deepcopy(model).cpu().float().eval()
    for batch in (1, 7):
        x = torch.rand(batch, *input_shape, generator=generator(0, "onnx", batch))
        want, have = plain(x), session(x)
        apart = (want - have).abs().max() if want.shape == have.shape else torch.inf
        if not apart <= _TOLERANCE * want.abs().max():
            raise ValueError(
                "The exported network computes different logits in ONNX Runtime and in torch, by "
                f"more than {_TOLERANCE:g} of the largest; nothing was written: use the .hbk file."
            )
