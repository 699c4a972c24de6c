"""Metadata of an exported ONNX file: the network's description and a checksum of every byte."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from hauberk.artifact import format
from hauberk.artifact.artifact import Artifact
from hauberk.artifact.format import About, ArtifactError
from hauberk.preparation import Size

if TYPE_CHECKING:
    from onnx import ModelProto

VERSION = "2"
_PREFIX = "hauberk."
CHECKSUM = f"{_PREFIX}checksum"
"""The key of the checksum."""
_BLANK = "0" * 32
OURS = "give an .onnx file that hauberk export wrote"
"""Advice at the end of errors."""


def described(artifact: Artifact, image_size: Size | None) -> About:
    """The description of an artifact for its graph.

    Args:
        artifact: the compressed file.
        image_size: the size of a generator's images in the graph; by default that of its training.

    Raises:
        ValueError: a size for a classifier, or no size.
    """
    about = replace(artifact.about, dense_bytes=artifact.dense_bytes, answer="")  # its own graph
    if image_size is None:
        return about
    if about.classes:
        raise ValueError(
            f"An image size was given for a classifier of {about.classes} classes, whose images "
            "keep the size of its training; leave image_size out."
        )
    if len(image_size) != 2 or not all(type(n) is int and 0 < n < 1 << 16 for n in image_size):
        raise ValueError(
            f"The image size was given as {image_size}; give a height and a width of 1 to 65535."
        )
    return replace(about, input_shape=(about.input_shape[0], *image_size))


def about_of(notes: dict[str, str], name: str) -> About:
    """The network's description in the metadata of the file ``name``.

    Args:
        notes: the metadata.
        name: subject of errors.

    Raises:
        ArtifactError: another version of hauberk wrote them, or they are damaged.
    """
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
        raise ArtifactError(f"{name} has notes that hauberk does not write; {OURS}.")
    return about


def sign(graph: ModelProto, about: About) -> bytes:
    """The bytes of ``graph`` with its description and a checksum of every byte as metadata."""
    notes = {"version": VERSION, **format.facts(about), "checksum": _BLANK}
    for key, value in notes.items():
        graph.metadata_props.add(key=_PREFIX + key, value=value)
    blank: bytes = graph.SerializeToString(deterministic=True)
    return blank.replace(_mark(_BLANK), _mark(digest(blank, _BLANK)), 1)


def digest(content: bytes, claimed: str) -> str:
    """The checksum of ``content`` with the ``claimed`` one blanked out."""
    blank = content.replace(_mark(claimed), _mark(_BLANK), 1)
    return hashlib.blake2b(blank, digest_size=len(_BLANK) // 2).hexdigest()


def _mark(digest: str) -> bytes:
    """The checksum's key and value as protobuf serialises them."""
    return CHECKSUM.encode() + bytes([0x12, len(_BLANK)]) + digest.encode()
