"""Data that would unpack to more than their size allows: refused before it happens."""

from __future__ import annotations

import io
import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from hauberk.data import decode, load, parquet

X = np.zeros((10, 8, 8), np.uint8)
Y = np.array([0, 1] * 5)


def archive(path: Path, members: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", kind) as file:
        for name, content in members.items():
            file.writestr(name, content)


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def header(shape: str, kind: str = "|u1", columns: bool = False) -> bytes:
    text = (
        f"{{'descr': '{kind}', 'fortran_order': {columns}, 'shape': {shape}, }}".ljust(117) + "\n"
    )
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "members",
    [
        {"x.npy": header("(1000000000, 8, 8)"), "y.npy": npy(Y)},
        {"x.npy": npy(X), "y.npy": header("(1000000000000,)", "<i8")},
        {"x.npy": npy(X), "y.npy": header("(1000000000000,)", "<U0")},
        {"x.npy": npy(X), "y.npy": header("(-2, -5)", "<i8") + bytes(80)},
        {"x.npy": npy(X), "y.npy": npy(np.array([{}] * 10, object))},
        {"x.npy": header("(100000, 100, 100)", "<f8", True) + bytes(1 << 20), "y.npy": npy(Y)},
        {"x.npy": npy(X), "y.npy": b"no array"},
        {"x.npy": npy(X), "y": npy(Y)},
        {"x.npy": header("(" * 5000 + ")" * 5000), "y.npy": npy(Y)},
    ],
)
def test_archives_are_refused_at_once(members: dict[str, bytes], tmp_path: Path) -> None:
    archive(tmp_path / "d.npz", members)
    start = time.process_time()
    with pytest.raises((ValueError, OSError)) as caught:
        load(tmp_path / "d.npz")
    assert "\n" not in str(caught.value) and time.process_time() - start < 3


def test_labels_have_room_in_memory(tmp_path: Path) -> None:
    archive(tmp_path / "d.npz", {"x.npy": npy(X), "y.npy": npy(np.zeros(1 << 26, np.uint8))})
    with pytest.raises(OSError, match="There is no room in memory for the array y, 536"):
        load(tmp_path / "d.npz", memory=1 << 20)


def test_other_compression_is_refused(tmp_path: Path) -> None:
    archive(tmp_path / "d.npz", {"x.npy": npy(X), "y.npy": npy(Y)}, zipfile.ZIP_BZIP2)
    with pytest.raises(ValueError, match="another method than deflate"):
        load(tmp_path / "d.npz")


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("kind", [np.float64, np.float16, np.uint8])
def test_arrays_of_every_order_are_read(columns: bool, kind: type, tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 2, (10, 8, 8)).astype(kind)
    np.savez(tmp_path / "d.npz", x=np.asfortranarray(x) if columns else x, y=Y)
    data = load(tmp_path / "d.npz")
    assert data.train.images().sum() + data.validation.images().sum() > 0


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "d.npz")
    os.mkfifo(tmp_path / "d.parquet")
    for name in ("d.npz", "d.parquet"):
        with pytest.raises((ValueError, OSError)):
            load(tmp_path / name)


def test_a_long_label_that_is_repeated(tmp_path: Path) -> None:
    png = io.BytesIO()
    Image.new("L", (8, 8)).save(png, "PNG")
    image = pa.array([{"bytes": png.getvalue()}] * 10, type=pa.struct([("bytes", pa.binary())]))
    label = pa.array(["a" * 100_000, "b"] * 5).dictionary_encode()
    pq.write_table(pa.table({"image": image, "label": label}), tmp_path / "d.parquet")
    with pytest.raises(ValueError, match="a label of more than 1024 characters"):
        load(tmp_path / "d.parquet")


def blobs(path: Path, contents: list[bytes], **how: object) -> Path:
    """A parquet file of these images."""
    image = pa.array([{"bytes": b} for b in contents], type=pa.struct([("bytes", pa.binary())]))
    label = pa.array([i % 2 for i in range(len(contents))])
    pq.write_table(pa.table({"image": image, "label": label}), path, **how)
    return path


def png(side: int = 8, padding: int = 0) -> bytes:
    """A gray image; bytes after its end are ignored."""
    out = io.BytesIO()
    Image.new("L", (side, side)).save(out, "PNG")
    return out.getvalue() + bytes(padding)


def test_a_batch_of_rows_is_bounded_before_it_is_decoded(tmp_path: Path) -> None:
    """A dictionary states 1 MB once and repeats it in 200 rows, which would be 200 MB."""
    path = blobs(tmp_path / "d.parquet", [png(padding=1 << 20)] * 200, row_group_size=200)
    assert path.stat().st_size < 1 << 17
    before = pa.total_allocated_bytes()
    with pq.ParquetFile(path) as file:
        assert parquet._rows(file, 1 << 26) <= 64 < 200
        assert parquet._rows(file, 0) == 1 and parquet._rows(file, 1 << 40) == 256
    data = load(path, memory=1 << 20)
    assert len(data.train) + len(data.validation) + len(data.test) == 200
    assert pa.total_allocated_bytes() == before


def test_encoded_bytes_ahead_of_the_decoder_are_bounded() -> None:
    sources = (decode.Source(str(i), bytes(1 << 20)) for i in range(100))
    assert {len(group) for group in decode._groups(sources, 32)} == {1}
    small = (decode.Source(str(i), bytes(10)) for i in range(100))
    assert [len(group) for group in decode._groups(small, 32)] == [32, 32, 32, 4]


def test_an_image_larger_than_the_memory_is_not_decoded(tmp_path: Path) -> None:
    path = blobs(tmp_path / "d.parquet", [png()] * 9 + [png(5000)])
    with pytest.raises(ValueError, match=r"in row 9.*5000 × 5000 pixels take 100 MB") as caught:
        load(path, memory=1 << 20, image_size=8)
    assert "\n" not in str(caught.value)
    assert len(load(path, memory=1 << 20, image_size=8, on_error="skip").test) > 0


@pytest.mark.parametrize(("labels", "said"), [(4, "more images than its 4"), (12, "for 12 labels")])
def test_columns_of_different_lengths(
    labels: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = blobs(tmp_path / "d.parquet", [png()] * 10)
    monkeypatch.setattr(parquet, "_labels", lambda *given: np.arange(labels) % 2)
    with pytest.raises(ValueError, match=said) as caught:
        load(path)
    assert "\n" not in str(caught.value)
