"""The bytes of an ``.onnx`` file: read, parsed, and whose they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hauberk.artifact.format import ArtifactError
from hauberk.onnx.metadata import CHECKSUM
from hauberk.runtime import files
from hauberk.runtime.packages import need

if TYPE_CHECKING:
    from onnx import ModelProto

LARGEST_FILE = (1 << 31) - 1  # protobuf's limit


def content_of(path: Path) -> bytes:
    """The bytes of an ``.onnx`` file.

    Raises:
        OSError: it is missing, cannot be read, or is too large.
    """
    return files.read(path, "an .onnx file", LARGEST_FILE)


def is_ours(content: bytes, name: str) -> bool:
    """Whether a file's metadata state that hauberk wrote it; errors call the file ``name``.

    Raises:
        ArtifactError: the file is not an ONNX file, or is damaged.
    """
    return any(note.key == CHECKSUM for note in parsed(content, name).metadata_props)


def parsed(content: bytes, name: str) -> ModelProto:
    """Parse the bytes of a file; errors call it ``name``.

    Raises:
        ArtifactError: the file is not an ONNX file, or is damaged.
        ValueError: ``hauberk[onnx]`` is not installed.
    """
    need("onnx", "onnx", "onnxruntime")
    if not content:
        raise ArtifactError(f"{name} is empty; export it again.")
    from google.protobuf.message import DecodeError

    from onnx import ModelProto

    try:
        graph: ModelProto = ModelProto.FromString(content)
    except DecodeError:
        raise ArtifactError(
            f"{name} is damaged or not an ONNX file; get a fresh copy of it."
        ) from None
    return graph
