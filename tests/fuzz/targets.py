"""What is fuzzed: a seed file for each format, and what reads it; a fault is any other error."""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from hauberk.artifact import Architecture, Artifact
from hauberk.cli import run_file
from hauberk.data import load
from hauberk.models import build
from hauberk.training import checkpoint
from tests.fuzz.corpus import CORPUS

_MOVED = 6000
"""Bytes by which a mutation may move the end of a header."""
_JSON = json.dumps({"info": {"features": {"label": {"names": ["a", "b"], "num_classes": 2}}}})


@dataclass(frozen=True)
class Target:
    """A format.

    Attributes:
        seed: makes a valid file.
        read: reads a file's content as the command would; ValueError and OSError are answers.
        repaired: makes checksums and lengths right again, so that mutations reach what is behind.
        more: makes further seeds.
    """

    seed: Callable[[], bytes]
    read: Callable[[bytes], None]
    repaired: Callable[[bytes], bytes] = bytes

    more: tuple[Callable[[], bytes], ...] = ()

    def corpus(self) -> list[bytes]:
        """All seeds: the first one, and those of `CORPUS`."""
        return [self.seed(), *(made() for made in self.more)]

    def __call__(self, content: bytes) -> None:
        """Read the content; a one-line error is an answer.

        Raises:
            Exception: a fault.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.read(self.repaired(content))
        except (ValueError, OSError) as error:
            assert "\n" not in str(error), str(error)


def _file(name: str, content: bytes, read: Callable[[Path], object]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        read(path)


@cache
def _artifact() -> Artifact:
    net = build("digits-cnn")
    return Artifact.encode(
        net.state_dict(),
        architecture=Architecture.of(net),
        input_shape=(1, 8, 8),
        classes=10,
        labels=tuple("abcdefghij"),
    )


def _header_end(content: bytes) -> int:
    """The end of a header of JSON: the braces nearest to where its length says."""
    said = int.from_bytes(content[:8], "little")
    around = range(max(8, said - _MOVED), min(len(content), said + 8 + _MOVED))
    ends = [at + 2 for at in around if content[at : at + 2] == b"}}"]
    end = min(ends, key=lambda at: abs(at - said - 8), default=min(len(content), 64))
    return end + len(content[end : end + 8]) - len(content[end : end + 8].lstrip(b" "))


def _signed(content: bytes) -> bytes:
    """An ``.hbk`` with the length of its header and its checksum made right."""
    end = _header_end(content)
    head, rest = content[8:end], content[end:]
    head += b" " * (-len(head) % 8)
    head = re.sub(rb'"checksum":"[^"]*"', b'"checksum":"' + b"0" * 16 + b'"', head, count=1)
    whole = struct.pack("<Q", len(head)) + head + rest
    digest = hashlib.blake2b(whole, digest_size=8).hexdigest().encode()
    return whole.replace(b'"checksum":"' + b"0" * 16, b'"checksum":"' + digest, 1)


def _read_hbk(content: bytes) -> None:
    Artifact.from_bytes(content).state()


def _onnx_seed() -> bytes:
    from tests.helpers.onnx_files import tiny

    return tiny().content


def _onnx_signed(content: bytes) -> bytes:
    """An ``.onnx`` of ours with its checksum made right."""
    from hauberk.onnx import metadata

    key = b"hauberk.checksum\x12\x20"
    at = content.find(key) + len(key)
    if at < len(key):
        return content
    blank = content[:at] + b"0" * 32 + content[at + 32 :]
    return content[:at] + metadata.digest(blank, "0" * 32).encode() + content[at + 32 :]


def _read_onnx(content: bytes) -> None:
    from hauberk.onnx.file import OnnxFile
    from hauberk.onnx.foreign import ForeignFile
    from hauberk.onnx.raw import is_ours

    if is_ours(content, "net.onnx"):
        OnnxFile.from_bytes(content, "net.onnx").twin("net.onnx")
    else:
        ForeignFile.from_bytes(content, "net.onnx").replay()


def _checkpoint_seed() -> bytes:
    def read(path: Path) -> None:
        tree = {"step": 3, "w": torch.ones(2), "log": [{"stage": "one", "loss": 0.5}, None]}
        checkpoint.save(path, tree)
        made.append(path.read_bytes())

    made: list[bytes] = []
    _file("c.safetensors", b"", read)
    return made[0]


def _header_fitted(content: bytes) -> bytes:
    """A safetensors file with the length of its header made right."""
    return struct.pack("<Q", max(0, _header_end(content) - 8)) + content[8:]


def _read_checkpoint(content: bytes) -> None:
    _file("c.safetensors", content, checkpoint.load)


def _read_note(content: bytes) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    image = pa.array([{"bytes": _png()}] * 10, type=pa.struct([("bytes", pa.binary())]))
    table = pa.table({"image": image, "label": pa.array([0, 1] * 5)})
    out = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({b"huggingface": content}), out)
    _file("d.parquet", out.getvalue(), load)


@cache
def _png() -> bytes:
    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "PNG")
    return out.getvalue()


def _parquet_seed() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    image = pa.array([{"bytes": _png()}] * 10, type=pa.struct([("bytes", pa.binary())]))
    out = io.BytesIO()
    pq.write_table(pa.table({"image": image, "label": pa.array([0, 1] * 5)}), out)
    return out.getvalue()


def _npz_seed() -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, x=np.zeros((10, 8, 8), np.uint8), y=np.array([0, 1] * 5))
    return out.getvalue()


def _toml_seed() -> bytes:
    return b'verb = "train"\nepochs = 3\nlr = 0.1\nexclude = ["head"]\nkeep = "1%"\n'


def _read_folder(content: bytes) -> None:
    def read(path: Path) -> None:
        for number in range(10):
            other = path.parents[1] / "b" / f"{number}.png"
            other.parent.mkdir(exist_ok=True)
            other.write_bytes(_png())
            (path.parent / f"{number + 1}.png").write_bytes(_png())
        load(path.parents[1], on_error="skip")

    _file("d/a/0.png", content, read)


_FORMATS: dict[str, Target] = {
    "hbk": Target(lambda: _artifact().content, _read_hbk, _signed),
    "onnx": Target(_onnx_seed, _read_onnx, _onnx_signed),
    "checkpoint": Target(_checkpoint_seed, _read_checkpoint, _header_fitted),
    "note": Target(_JSON.encode, _read_note),
    "parquet": Target(_parquet_seed, lambda content: _file("d.parquet", content, load)),
    "toml": Target(
        _toml_seed, lambda content: _file("r.toml", content, lambda p: run_file.read(p, "train"))
    ),
    "npz": Target(_npz_seed, lambda content: _file("d.npz", content, load)),
    "folder": Target(_png, _read_folder),
}
TARGETS = {name: replace(each, more=CORPUS[name]) for name, each in _FORMATS.items()}
"""By name, the formats with their whole corpus."""
