"""The same network as one ONNX file, with the artifact that it was made from inside.

    content = graph + metadata { hauberk.artifact: base64 of the .hbk, hauberk.checksum }

ONNX Runtime computes the logits; the artifact decodes to the twin whose gradients an attack needs.
Every byte is under the checksum. A reader takes nothing on trust: one parse, no external data, no
operators but the standard ones, no control flow.
"""

from __future__ import annotations

import base64
import copy
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hauberk import files
from hauberk.artifact.artifact import Artifact
from hauberk.artifact.format import ArtifactError
from hauberk.artifact.graph import BATCH, INPUT, OUTPUT, complaint, facts, trace
from hauberk.artifact.session import Session
from hauberk.ops.random import generator
from hauberk.packages import need

if TYPE_CHECKING:
    from onnx import ModelProto

_ARTIFACT, _CHECKSUM = "hauberk.artifact", "hauberk.checksum"
_BLANK = "0" * 32
_LARGEST_FILE = (1 << 31) - 1  # no protobuf is larger
_TOLERANCE = 1e-5
"""Largest difference from torch's logits, over the largest of them."""
_OURS = "give an .onnx file that hauberk export wrote"


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file that hauberk wrote.

    Attributes:
        content: the whole file.
        artifact: the one that it was made from.
        opset: version of the standard operators.
        classes: outputs.
    """

    content: bytes = field(repr=False)
    artifact: Artifact
    opset: int
    classes: int

    @classmethod
    def encode(cls, artifact: Artifact, model: nn.Module) -> OnnxFile:
        """The network of ``artifact`` as ONNX: ``max |f_onnx − f_torch| ≤ 1e-5 max |f_torch|``.

        The bound is checked in ONNX Runtime on random inputs, at batch 1 and 7.

        Args:
            artifact: goes into the file, and names the shape of the input.
            model: what it decodes to; it is left untouched.

        Raises:
            ValueError: the extra is missing, the network cannot be exported, or computes something
                else in ONNX Runtime.
        """
        weights = sum(tensor.numel() for tensor in model.state_dict().values())
        size = 4 * weights + 4 * artifact.nbytes // 3
        if size > _LARGEST_FILE:
            raise ValueError(
                f"The network takes {size:,} bytes as one ONNX file, which may have "
                f"{_LARGEST_FILE:,}; ship the .hbk."
            )
        graph = trace(model, artifact.input_shape)
        fault = complaint(graph, artifact.input_shape)
        if fault:
            raise ValueError(
                f"The network cannot be written as ONNX (its graph {fault}); give one of plain "
                "torch layers, from images to one row of logits for each."
            )
        content = _sign(graph, artifact.content)
        _compare(Session(content, name="The exported network"), model, artifact.input_shape)
        return cls(content, artifact, *facts(graph))

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "The file") -> OnnxFile:
        """The ONNX file whose bytes are ``content``; ``name`` stands in errors.

        Raises:
            ArtifactError: empty, cut off, damaged, not ours, or its artifact is.
            ValueError: the extra is missing.
        """
        graph = _parse(content, name)
        notes = {note.key: note.value for note in graph.metadata_props}
        if _ARTIFACT not in notes:
            raise ArtifactError(f"{name} holds no hauberk artifact; {_OURS}.")
        if notes.get(_CHECKSUM) != _digest(content, notes.get(_CHECKSUM, "")):
            raise ArtifactError(f"{name} was damaged or changed after its export; export it again.")
        artifact = _unpacked(notes[_ARTIFACT], f"The artifact inside {name}")
        fault = complaint(graph, artifact.input_shape)
        if fault:
            raise ArtifactError(f"{name} {fault}; {_OURS}.")
        return cls(content, artifact, *facts(graph))

    @classmethod
    def load(cls, path: str | Path) -> OnnxFile:
        """The ONNX file at ``path``.

        Raises:
            ArtifactError: empty, cut off, damaged, not ours, or its artifact is.
            OSError: it is missing, cannot be read, or is too large.
        """
        return cls.from_bytes(files.read(Path(path), "an .onnx file", _LARGEST_FILE), str(path))

    def save(self, path: str | Path) -> None:
        """Put the file at ``path``, whole or not at all.

        Raises:
            OSError: the folder cannot be written or the disk is full.
        """
        files.write(Path(path), self.content)

    def json(self) -> dict[str, Any]:
        """``{"bytes", "artifact_bytes", "opset", "inputs", "outputs"}``."""
        image, logits = [BATCH, *self.artifact.input_shape], [BATCH, self.classes]
        return {
            "bytes": len(self.content),
            "artifact_bytes": self.artifact.nbytes,
            "opset": self.opset,
            "inputs": [{"name": INPUT, "dtype": "float32", "shape": image}],
            "outputs": [{"name": OUTPUT, "dtype": "float32", "shape": logits}],
        }


def _parse(content: bytes, name: str) -> ModelProto:
    need("onnx", "onnx", "onnxruntime")
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    try:
        graph: ModelProto = ModelProto.FromString(content)
    except DecodeError:
        raise ArtifactError(f"{name} is no ONNX file, or a damaged one; {_OURS}.") from None
    return graph


def _unpacked(text: str, name: str) -> Artifact:
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        raise ArtifactError(f"{name} is not in base64; {_OURS}.") from None
    return Artifact.from_bytes(content, name)


def _sign(graph: ModelProto, artifact: bytes) -> bytes:
    """The graph's bytes, with the artifact and the checksum of everything in its metadata."""
    for key, value in {_ARTIFACT: base64.b64encode(artifact).decode(), _CHECKSUM: _BLANK}.items():
        graph.metadata_props.add(key=key, value=value)
    blank: bytes = graph.SerializeToString(deterministic=True)
    return blank.replace(_mark(_BLANK), _mark(_digest(blank, _BLANK)), 1)


def _digest(content: bytes, claimed: str) -> str:
    """The checksum of ``content``, once the ``claimed`` one is blank."""
    blank = content.replace(_mark(claimed), _mark(_BLANK), 1)
    return hashlib.blake2b(blank, digest_size=len(_BLANK) // 2).hexdigest()


def _mark(digest: str) -> bytes:
    """A protobuf's key and value: where the checksum stands."""
    return _CHECKSUM.encode() + bytes([0x12, len(_BLANK)]) + digest.encode()


@torch.no_grad()
def _compare(session: Session, model: nn.Module, input_shape: tuple[int, ...]) -> None:
    twin = copy.deepcopy(model).cpu().float().eval()
    for batch in (1, 7):
        x = torch.rand(batch, *input_shape, generator=generator(0, "onnx", batch))
        want, have = twin(x), session(x)
        apart = (want - have).abs().max() if want.shape == have.shape else torch.inf
        if not apart <= _TOLERANCE * want.abs().max():
            raise ValueError(
                "The exported network computes other logits in ONNX Runtime than in torch, by more "
                f"than {_TOLERANCE:g} of the largest, so nothing was written; ship the .hbk."
            )
