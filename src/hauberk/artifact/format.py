"""The container: one safetensors file with one uint8 tensor, described in docs/format.md.

    length u64 | JSON header | payload = table length u32 | table | ANS words

The header is written here because the safetensors package orders keys at random; here equal content
gives equal bytes. The checksum covers every byte.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import nn

from hauberk.artifact.answer import well_formed
from hauberk.class_names import labels_complaint
from hauberk.preparation import AS_IS, Preparation

FORMAT = "hauberk"
VERSION = 2
"""The format version that is written and read; files of other versions are refused."""
_BLANK = "0" * 16
_OTHERS = (
    (b"\x1f\x8b", "compressed by gzip", "unpack it first"),
    (b"PK", "a zip file", "unpack it, or give weights of torch.save an ending such as .pt"),
)
"""First bytes of files that are taken for an .hbk by mistake."""
_LARGEST_HEADER = 1 << 20
_LARGEST_NET = 1 << 48
"""Upper bound on the bytes of a dense net; a larger number means a damaged file."""


class ArtifactError(ValueError):
    """A file is empty, cut off, damaged, or not a hauberk file."""


@dataclass(frozen=True)
class Architecture:
    """The name of a network in `hauberk.models` and the arguments that rebuild it."""

    name: str
    arguments: Mapping[str, int | float | str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", MappingProxyType(dict(self.arguments)))

    @classmethod
    def of(cls, model: nn.Module) -> Architecture | None:
        """The architecture of a network that was built by name; None for any other module."""
        named = getattr(model, "architecture", None)
        return cls(*named) if isinstance(named, tuple) else None


@dataclass(frozen=True)
class About:
    """The header's description of the network.

    Attributes:
        architecture: name and arguments; None for a user's own module.
        input_shape: shape of one input, (channel, height, width).
        classes: number of outputs; 0 for an image-to-image network.
        dense_bytes: float32 bytes of the dense net if this one is structurally shrunk; else None.
        labels: class names by index; empty if unknown.
        preparation: how images were prepared: resized, and normalised by the network.
        answer: what the network gives for two known images, see `hauberk.artifact.answer`; empty if
            the architecture tells its code.
    """

    architecture: Architecture | None
    input_shape: tuple[int, ...]
    classes: int
    dense_bytes: int | None = None
    labels: tuple[str, ...] = ()
    preparation: Preparation = AS_IS
    answer: str = ""

    @property
    def photographs(self) -> tuple[int, ...] | None:
        """The input shape, if photographs were brought to it; else None."""
        return self.input_shape if self.preparation.resize else None


@dataclass(frozen=True)
class Content:
    """The parts of a file.

    Attributes:
        about: the header's description of the network.
        table: the packed table of entries.
        stream: the entropy-coded tensors.
    """

    about: About
    table: bytes
    stream: bytes


def pack(about: About, table: bytes, stream: bytes) -> bytes:
    """The bytes of the whole file.

    Args:
        about: the description of the network.
        table: the packed table of entries.
        stream: the entropy-coded tensors.
    """
    payload = (struct.pack("<I", len(table)), table, stream)
    header = _header(about, sum(map(len, payload)))
    length, digest = struct.pack("<Q", len(header)), hashlib.blake2b(digest_size=8)
    for part in (length, header, *payload):
        digest.update(part)
    return b"".join((length, _signed(header, digest.hexdigest()), *payload))


def unpack(content: bytes) -> Content:
    """Unpack a file.

    Raises:
        ArtifactError: `pack` did not write the content. The caller puts the file's name before the
            message.
    """
    start = _payload_start(content)
    header = _json(content[8:start])
    meta = header.get("__metadata__")
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ArtifactError("is not a hauberk file; give an .hbk file that hauberk wrote.")
    _check_version(meta.get("version"))
    _verify(content, start, meta.get("checksum"))
    about = about_of(meta)
    payload = content[start:]
    if content[8:start] != _signed(_header(about, len(payload)), meta["checksum"]):
        raise ArtifactError("has a header that hauberk does not write; get a fresh copy of it.")
    return Content(about, *_split(payload))


def _check_version(given: object) -> None:
    if given != str(VERSION):
        raise ArtifactError(
            f"has format version {given!r}, and this hauberk reads version {VERSION} only; "
            "install the hauberk that wrote it."
        )


def _header(about: About, payload_bytes: int) -> bytes:
    header = {
        "__metadata__": {
            "format": FORMAT,
            "version": str(VERSION),
            **facts(about),
            "checksum": _BLANK,
        },
        "payload": {"dtype": "U8", "shape": [payload_bytes], "data_offsets": [0, payload_bytes]},
    }
    text = _compact(header).encode()
    return text + b" " * (-len(text) % 8)


def facts(about: About) -> dict[str, str]:
    """``about`` as text by name; optional entries come last."""
    named = about.architecture
    architecture = named and {"name": named.name, "arguments": dict(named.arguments)}
    slim = {} if about.dense_bytes is None else {"dense_bytes": str(about.dense_bytes)}
    named_classes = {"labels": _compact(about.labels)} if about.labels else {}
    prepared = about.preparation
    resized = {"resize": prepared.resize} if prepared.resize else {}
    moments = {"mean": prepared.mean, "std": prepared.std} if prepared.mean else {}
    return {
        "architecture": _compact(architecture),
        "input_shape": _compact(about.input_shape),
        "classes": str(about.classes),
        **slim,
        **named_classes,
        **resized,
        **{key: _compact(value) for key, value in moments.items()},
        **({"answer": about.answer} if about.answer else {}),
    }


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _mark(digest: str) -> bytes:
    """The checksum's text in the header; unique, because quotes inside a value are escaped."""
    return f'"checksum":"{digest}"'.encode()


def _signed(header: bytes, digest: str) -> bytes:
    return header.replace(_mark(_BLANK), _mark(digest), 1)


def _payload_start(content: bytes) -> int:
    if len(content) < 8:
        what = f"ends after {len(content)} bytes" if content else "is empty"
        raise ArtifactError(f"{what}; give an .hbk file that hauberk wrote.")
    for start, kind, advice in _OTHERS:
        if content.startswith(start):
            raise ArtifactError(f"is {kind} and not a hauberk file; {advice}.")
    (length,) = struct.unpack_from("<Q", content)
    if length > _LARGEST_HEADER or content[8:9] not in (b"{", b""):
        raise ArtifactError("is not a hauberk file; give an .hbk file that hauberk wrote.")
    if 8 + length > len(content):
        raise ArtifactError("is cut off inside its header; get a fresh copy of it.")
    return 8 + int(length)


def _json(header: bytes) -> dict[str, Any]:
    try:
        value = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise ArtifactError("is damaged or not a hauberk file; get a fresh copy of it.") from error
    if not isinstance(value, dict):
        raise ArtifactError("is no hauberk file; give an .hbk file that hauberk wrote.")
    return value


def _verify(content: bytes, start: int, digest: object) -> None:
    damaged = ArtifactError("is damaged (its checksum does not hold); get a fresh copy of it.")
    if not isinstance(digest, str) or not digest.isascii():
        raise damaged
    view = memoryview(content)
    signed = content[8:start].replace(_mark(digest), _mark(_BLANK), 1)
    true = hashlib.blake2b(view[:8], digest_size=8)
    true.update(signed)
    true.update(view[start:])
    if true.hexdigest() != digest:
        raise damaged


def about_of(meta: Mapping[str, Any]) -> About:
    """Read back the output of `facts`.

    Raises:
        ArtifactError: `facts` did not write it. The caller puts the file's name before the message.
    """
    odd = ArtifactError("has a header that hauberk does not write; get a fresh copy of it.")
    try:
        named = json.loads(meta["architecture"])
        shape = json.loads(meta["input_shape"])
        classes = int(meta["classes"])
        dense_bytes = int(meta["dense_bytes"]) if "dense_bytes" in meta else None
        labels = json.loads(meta["labels"]) if "labels" in meta else []
        prepared = Preparation(
            str(meta.get("resize", "")),
            tuple(map(float, json.loads(meta.get("mean", "[]")))),
            tuple(map(float, json.loads(meta.get("std", "[]")))),
        )
        architecture = named and Architecture(named["name"], named["arguments"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise odd from error
    if not isinstance(shape, list) or not isinstance(labels, list):
        raise odd
    about = About(
        architecture or None,
        tuple(shape),
        classes,
        dense_bytes,
        tuple(labels),
        prepared,
        str(meta.get("answer", "")),
    )
    if complaint(about):
        raise odd
    return about


def complaint(about: About) -> str | None:
    """A one-line error message about ``about``; None if it is valid."""
    named = about.architecture
    if named is not None and not (
        isinstance(named.name, str)
        and all(
            isinstance(key, str)
            and type(value) in (int, float, str)
            and (isinstance(value, str) or math.isfinite(value))
            for key, value in named.arguments.items()
        )
    ):
        return f"The architecture is {named!r}; give finite numbers or strings as its arguments."
    shape, classes = about.input_shape, about.classes
    whole = all(type(size) is int and size < 1 << 31 for size in (*shape, classes))
    if not whole or min(shape, default=1) < 1 or classes < 0:
        return (
            f"The input shape is {shape!r} and the classes are {classes!r}; give whole numbers, "
            "of 1 or more in the shape, and 0 classes for an image-to-image network."
        )
    dense = about.dense_bytes
    if dense is not None and not (type(dense) is int and 0 < dense < _LARGEST_NET):
        return f"dense_bytes was given as {dense!r}; give a whole number from 1 to 2^48 - 1."
    if about.answer and not well_formed(about.answer):
        return f"The answer was given as {about.answer!r}; give one that a network gave."
    odd = labels_complaint(about.labels, about.classes)
    return f"The class names cannot be stored: {odd}" if odd else about.preparation.complaint()


def _split(payload: bytes) -> tuple[bytes, bytes]:
    if len(payload) >= 4:
        end = 4 + int(struct.unpack_from("<I", payload)[0])
        if end <= len(payload) and (len(payload) - end) % 4 == 0:
            return payload[4:end], payload[end:]
    raise ArtifactError("has a payload that hauberk does not write; get a fresh copy of it.")
