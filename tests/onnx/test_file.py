"""An ONNX file on the disk: what is written is read again, and what is not ours is refused."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.helpers.onnx_files import tiny, tiny_artifact

import onnx
from hauberk.artifact import ArtifactError
from hauberk.onnx import raw
from hauberk.onnx.file import OnnxFile

pytestmark = pytest.mark.slow


def test_save_and_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tiny()
    path = tmp_path / "deep" / "model.onnx"
    file.save(path)
    assert OnnxFile.load(path) == file and path.stat().st_size == file.json()["bytes"]
    assert [p.name for p in path.parent.iterdir()] == ["model.onnx"]
    with pytest.raises(OSError, match=r"could not be written .*\."):
        file.save(path / "below")
    monkeypatch.setattr(raw, "LARGEST_FILE", 100)
    with pytest.raises(OSError, match=r"more than an \.onnx file may have"):
        OnnxFile.load(path)


@pytest.mark.parametrize("path", ["none.onnx", ".", "/dev/zero"])
def test_what_is_no_file_is_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"give an \.onnx file"):
        OnnxFile.load(tmp_path / path)


def foreign() -> bytes:
    """An ONNX file of somebody else's."""
    model = onnx.load_model_from_string(tiny().content)
    model.ClearField("metadata_props")
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: b"", "is empty"),
        (lambda: b"not a protobuf at all", "not an ONNX file"),
        (lambda: random.Random(0).randbytes(5000), "not an ONNX file"),
        (lambda: tiny_artifact()[0].content, "not an ONNX file"),
        (foreign, "not written by hauberk"),
        (lambda: tiny().content[:-100], "not an ONNX file"),
        (lambda: tiny().content + b"\0", "not an ONNX file"),
    ],
)
def test_a_file_that_is_not_ours_gets_one_sentence(make: Callable[[], bytes], says: str) -> None:
    with pytest.raises(ArtifactError, match=says) as caught:
        OnnxFile.from_bytes(make(), "net.onnx")
    assert re.fullmatch(r"net\.onnx [^\n]+\.", str(caught.value))
