"""Images without labels, and photographs of many sizes brought to one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from hauberk.artifact import Artifact
from hauberk.data import load
from hauberk.networks import check_fit


def photograph(path: Path, high: int, wide: int, mode: str = "RGB") -> None:
    """A dark left half and a bright right half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    x = np.zeros((high, wide, 3), np.uint8)
    x[:, wide // 2 :] = 255
    Image.fromarray(x).convert(mode).save(path)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Twelve photographs of several sizes, some in subfolders, and a text."""
    for k in range(8):
        photograph(tmp_path / f"{k}.png", 20 + k, 30)
    for k in range(4):
        photograph(tmp_path / "holiday" / "beach" / f"{k}.jpg", 40, 18 + k)
    (tmp_path / "readme.txt").write_text("")
    return tmp_path


def test_a_folder_without_classes(album: Path) -> None:
    data = load(album, labelled=False, image_size=16)
    counts = [len(part) for part in (data.train, data.validation, data.test)]
    assert (data.classes, data.labels, counts) == (0, (), [10, 1, 1])
    assert data.shape == (3, 16, 16)
    assert not any(part.y.any() for part in (data.train, data.validation, data.test))
    assert "1 file was left out" in data.notes[0]


def test_the_splits_of_a_folder_without_classes(tmp_path: Path) -> None:
    for split, count in {"train": 6, "val": 2, "test": 3}.items():
        for k in range(count):
            photograph(tmp_path / split / f"{k}.png", 16, 16)
    data = load(tmp_path, labelled=False)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [6, 2, 3]


def test_an_image_covers_the_square_and_is_cropped_at_its_centre(tmp_path: Path) -> None:
    for k, (high, wide) in enumerate([(32, 64), (64, 32), (8, 8)]):
        photograph(tmp_path / "test" / f"{k}.png", high, wide)
        photograph(tmp_path / "train" / f"{k}.png", high, wide)
    x = load(tmp_path, labelled=False, image_size=32).test.images()
    assert x.shape == (3, 3, 32, 32)
    for image in x:
        assert float(image[:, :, :12].max()) < 0.1  # the border of dark and bright stays central
        assert float(image[:, :, 20:].min()) > 0.9


def test_grey_images_keep_one_channel(tmp_path: Path) -> None:
    for k in range(12):
        photograph(tmp_path / f"{k}.png", 20, 24, "L")
    assert load(tmp_path, labelled=False, image_size=8).shape == (1, 8, 8)


def test_image_size_is_for_labelled_images_too(tmp_path: Path) -> None:
    for k in range(24):
        photograph(tmp_path / "ab"[k % 2] / f"{k}.png", 10 + k, 20)
    data = load(tmp_path, image_size=12)
    assert (data.classes, data.shape) == (2, (3, 12, 12))


def test_arrays_without_labels(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((20, 3, 8, 8), np.float32)
    np.savez(tmp_path / "a.npz", x=x)
    assert len(load(str(tmp_path / "a.npz"), labelled=False).train) == 16
    np.savez(tmp_path / "b.npz", x_train=x, x_test=x[:5])
    assert len(load(str(tmp_path / "b.npz"), labelled=False).test) == 5
    data = load(list(torch.from_numpy(x)), labelled=False)
    assert (data.classes, len(data.train)) == (0, 16)
    with pytest.raises(ValueError, match="no arrays x and y"):
        load(str(tmp_path / "a.npz"))


def test_labels_that_are_there_are_left_out() -> None:
    data = load("digits", labelled=False)
    assert (data.classes, int(data.train.y.max())) == (0, 0)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"image_size": 0},
            "image_size was given as 0; give a side, or height and width, from 1 to",
        ),
        ({"image_size": 16}, "whose images are arrays of 1 × 8 × 8; leave it out"),
    ],
)
def test_wrong_sizes(settings: dict[str, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        load("digits", **settings)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="contains no image: give PNG, JPEG"):
        load(tmp_path, labelled=False)


def test_a_network_must_fit_the_task() -> None:
    pictures, digits = load("digits", labelled=False), load("digits")
    to_image, classifier = nn.Conv2d(1, 3, 3), nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert check_fit(to_image, pictures) == 3
    assert check_fit(classifier, digits) == 10
    with pytest.raises(ValueError, match=r"give a model from images to images"):
        check_fit(classifier, pictures)
    with pytest.raises(ValueError, match="has 10 classes"):
        check_fit(to_image, digits)


def test_the_file_of_a_generator_has_no_classes() -> None:
    net = nn.Conv2d(3, 3, 3, padding=1)
    made = Artifact.encode(net.state_dict(), architecture=None, input_shape=(3, 8, 8), classes=0)
    assert Artifact.from_bytes(made.content).about.classes == 0
