"""Photographs as people have them: many sizes, turned by EXIF, odd endings, splits in any case."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from tests.helpers import pictures
from tests.helpers.pictures import paint, zoo

import hauberk as hb
from hauberk.artifact import Artifact
from hauberk.artifact.format import ArtifactError
from hauberk.data import load
from hauberk.preparation import COVER, Preparation, sides


def photographs(root: Path, each: int = 10) -> Path:
    """Three classes of pictures, all of different sizes."""
    rng = np.random.default_rng(0)
    for k, name in enumerate(pictures.NAMES):
        for i in range(each):
            size = (8 + (3 * k + i) % 7, 9 + (5 * i) % 6, 3)
            paint(root / name / f"{i}.jpg", rng.integers(0, 255, size).astype(np.uint8))
    return root


def turned(pixels: np.ndarray, orientation: int, kind: str) -> bytes:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x112] = orientation
    Image.fromarray(pixels).save(buffer, kind, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 60000])
def test_exif_rotation_is_applied_by_every_decoder(
    tmp_path: Path, kind: str, orientation: int
) -> None:
    pixels = np.arange(6 * 6 * 3, dtype=np.uint8).reshape(6, 6, 3) * 2
    content = turned(pixels, orientation, kind)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    want = torch.from_numpy(np.asarray(upright).transpose(2, 0, 1).copy())
    for name in pictures.NAMES:
        for i in range(10):
            (tmp_path / "f" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "f" / name / f"{i}.png").write_bytes(content)
    table = pictures.write(tmp_path / "d.parquet", [content] * 20, [0, 1] * 10, None)
    opened = [(Image.open(io.BytesIO(content)), i % 2) for i in range(20)]
    for source in (tmp_path / "f", table, opened):
        assert torch.equal(load(source).test.x[0], want)  # type: ignore[arg-type]


def test_damaged_exif_says_nothing(tmp_path: Path) -> None:
    content = turned(np.full((6, 6, 3), 9, np.uint8), 6, "JPEG").replace(b"II*\x00", b"II*\xff")
    table = pictures.write(tmp_path / "d.parquet", [content] * 20, [0, 1] * 10, None)
    assert load(table).shape == (3, 6, 6)


@pytest.mark.parametrize(
    "names", [("Train", "Test"), ("TRAIN", "VAL", "TEST"), ("training", "valid", "Testing")]
)
def test_splits_in_any_letter_case(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        zoo(tmp_path, 4, place=name)
    data = load(tmp_path)
    assert data.classes == 3 and len(data.test) == 12


def test_the_keys_of_a_users_splits_in_any_letter_case() -> None:
    x, y = np.zeros((20, 4, 4), np.uint8), np.arange(20) % 2
    assert len(load({"Train": (x, y), "TEST": (x[:4], y[:4])}).test) == 4
    with pytest.raises(ValueError, match="give train, validation and test"):
        load({"val": (x, y), "Validation": (x, y)})


@pytest.mark.parametrize("ending", [".jfif", ".JPE", ".pnm", "", ".download", ".JPG"])
def test_an_image_by_ending_or_content(tmp_path: Path, ending: str) -> None:
    kind = "PPM" if ending == ".pnm" else "JPEG"
    for name in pictures.NAMES:
        for i in range(10):
            path = tmp_path / name / f"{i}{ending}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(pictures.encoded(np.full((5, 5, 3), 7, np.uint8), kind))
    (tmp_path / "ant" / "notes.txt").write_text("not an image")
    data = load(tmp_path)
    assert data.shape == (3, 5, 5) and "1 file was left out" in data.notes[0]


def test_mixed_sizes_name_the_flag_and_the_sizes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--image-size 64") as caught:
        load(photographs(tmp_path))
    said = str(caught.value)
    assert "8 × 9 and 14 × 14 pixels among" in said and "\n" not in said


def test_height_and_width(tmp_path: Path) -> None:
    data = load(photographs(tmp_path), image_size=(12, 16))
    assert data.shape == (3, 12, 16) and data.resize == COVER
    first = Image.open(tmp_path / "ant" / "0.jpg")
    want = np.asarray(ImageOps.fit(first, (16, 12), Image.Resampling.LANCZOS))
    every = torch.cat([data.train.x, data.validation.x, data.test.x])
    assert any(np.array_equal(x.permute(1, 2, 0).numpy(), want) for x in every)


@pytest.mark.parametrize("size", [0, -1, (4, 0), (1, 2, 3), 20000, True, (4.0, 4)])
def test_bad_sizes(size) -> None:
    with pytest.raises(ValueError, match="give a side, or height and width"):
        sides(size)


class TestRecorded:
    """The file repeats how its photographs were brought to one size."""

    @pytest.fixture
    def shipped(self, tmp_path: Path) -> tuple[Path, Path]:
        folder = photographs(tmp_path / "photos")
        net = torch.nn.Sequential(
            torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(12, 3)
        )
        artifact = Artifact.encode(
            net.state_dict(),
            architecture=None,
            input_shape=(3, 6, 10),
            classes=3,
            labels=pictures.NAMES,
            preparation=Preparation(COVER),
        )
        artifact.save(tmp_path / "model.hbk")
        return tmp_path / "model.hbk", folder

    def test_in_the_file(self, shipped: tuple[Path, Path]) -> None:
        path, _ = shipped
        about = Artifact.load(path).about
        assert about.photographs == (3, 6, 10)
        content = path.read_bytes()
        with pytest.raises(ArtifactError):
            Artifact.from_bytes(content.replace(b'"resize":"cover"', b'"resize":"stret"'))

    def test_evaluation_repeats_it(self, shipped: tuple[Path, Path]) -> None:
        path, folder = shipped
        net = torch.nn.Sequential(
            torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(12, 3)
        )
        report = hb.evaluate(
            path, folder, threat=hb.Linf(0.1), attack="fgsm", model=net, checks=False
        )
        assert "brought to 6 × 10 (cover" in report.rows[0].json()["images"]
        assert "Images brought to 6 × 10" in report.markdown()

    def test_gray_photographs_for_a_net_of_three_channels(self, tmp_path: Path) -> None:
        data = load(zoo(tmp_path), recorded=(3, 6, 6))
        assert data.shape == (3, 6, 6) and "as the file records" in data.notes[-1]

    def test_another_size_is_a_note(self, tmp_path: Path) -> None:
        data = load(photographs(tmp_path), image_size=8, recorded=(3, 6, 10))
        assert data.shape == (3, 8, 8) and "the file records 6 × 10" in data.notes[-1]

    def test_arrays_keep_their_size(self) -> None:
        data = load("digits", recorded=(1, 6, 6))
        assert data.shape == (1, 8, 8) and not data.resize
