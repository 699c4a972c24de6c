"""Image formats: the few that are decoded, by content, and the many that no file can ask for."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from tests.helpers.pictures import zoo

from hauberk.data import load
from hauberk.dataset import Data

WANTED = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
OTHERS = ("EPS", "ICO", "PCX", "TGA", "SGI", "JPEG2000", "DDS", "MSP", "PDF", "XBM")
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


def encoded(form: str) -> bytes:
    if form == "EPS":
        return EPS
    content = io.BytesIO()
    Image.new("1" if form in ("MSP", "XBM") else "L", (8, 8)).save(content, form)
    return content.getvalue()


def folder(root: Path, content: bytes) -> Path:
    zoo(root / "zoo")
    (root / "zoo" / "ant" / "0.png").write_bytes(content)
    return root / "zoo"


def table(root: Path, content: bytes) -> Path:
    struct = pa.struct([("bytes", pa.binary())])
    rows = [{"bytes": encoded("PNG")}] * 20 + [{"bytes": content}]
    columns = {"image": pa.array(rows, type=struct), "label": pa.array([0, 1] * 10 + [0])}
    pq.write_table(pa.table(columns), root / "d.parquet")
    return root / "d.parquet"


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The trace that any program leaves which pillow could start."""
    trace, programs = tmp_path / "started", tmp_path / "bin"
    programs.mkdir()
    for name in ("gs", "gswin64c", "djpeg", "cjpeg"):
        (programs / name).write_text(f"#!/bin/sh\necho $0 >> {trace}\necho 9.99\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return trace


@pytest.mark.parametrize("form", WANTED)
def test_the_content_decides_whatever_the_ending(tmp_path: Path, form: str) -> None:
    data = load(table(tmp_path, encoded(form)))
    assert data.shape[1:] == (8, 8)


@pytest.mark.parametrize("form", OTHERS)
@pytest.mark.parametrize("place", [folder, table])
def test_other_formats_are_refused_and_start_nothing(
    tmp_path: Path, started: Path, form: str, place: Callable[[Path, bytes], Path]
) -> None:
    source = place(tmp_path, encoded(form))
    with pytest.raises(ValueError, match="not PNG, JPEG, WebP, BMP, GIF, TIFF or PPM") as caught:
        load(source)
    assert "\n" not in str(caught.value) and not started.exists()
    skipped: Data = load(source, on_error="skip")
    assert any("1 image could not be read" in note for note in skipped.notes)


def test_a_lazy_pillow_image_of_another_format_is_refused(started: Path) -> None:
    images = [Image.open(io.BytesIO(content)) for content in (EPS, encoded("PNG"))]
    with pytest.raises(ValueError, match=r"at example 0 .*format EPS is not supported"):
        load([(image, 0) for image in images])  # type: ignore[arg-type]
    assert not started.exists()


def test_decoded_pillow_images_need_no_format() -> None:
    images = [Image.fromarray(np.full((8, 8), 20 * k, np.uint8)) for k in range(10)]
    data = load([(image, k % 2) for k, image in enumerate(images * 3)])  # type: ignore[arg-type]
    assert data.train.x.dtype == torch.uint8


@pytest.mark.parametrize(
    ("note", "says"),
    [
        (b"[" * 100_000, "too deep"),
        (b'{"a":' * 100_000, "too deep"),
        (b" " * (1 << 23), "too long"),
        (b'{"info":{"features":{"label":{"num_classes":Infinity}}}}', "declares inf classes"),
        (b'{"info":{"features":{"label":{"num_classes":1000000000000}}}}', "declares 1000000000"),
        (b'{"info":{"features":{"label":{"num_classes":-3}}}}', "declares -3 classes"),
        (b'{"info":{"features":{"label":{"num_classes":2.5}}}}', r"declares 2\.5 classes"),
        (b'{"info":{"features":{"label":{"names":{"a":1}}}}}', ""),
        (b'{"info":{"features":{"label":7}}}', ""),
        (b"\xff", ""),
    ],
)
def test_what_a_note_declares_is_bounded(tmp_path: Path, note: bytes, says: str) -> None:
    path = table(tmp_path, encoded("PNG"))
    pq.write_table(pq.read_table(path).replace_schema_metadata({b"huggingface": note}), path)
    if not says:
        assert load(path).classes == 2
        return
    with pytest.raises(ValueError, match=says) as caught:
        load(path)
    assert "\n" not in str(caught.value)
