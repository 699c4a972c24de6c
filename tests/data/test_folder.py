"""Folders of images: their layouts, their faults, and the one rule for gray, RGB and alpha."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers.pictures import NAMES, paint, zoo

from hauberk.cli import main
from hauberk.data import load
from hauberk.data.decode import pixels


def test_a_folder_of_classes_is_split_by_us(tmp_path: Path) -> None:
    data = load(zoo(tmp_path / "zoo"))
    assert (data.name, data.classes, data.labels) == ("zoo", 3, NAMES)
    assert [len(data.train), len(data.validation), len(data.test)] == [24, 3, 3]
    assert data.shape == (1, 5, 4) and data.train.x.dtype == torch.uint8 and data.notes == ()
    for part in (data.train, data.validation, data.test):
        assert torch.equal(part.x[:, 0, 0, 0] // 20, part.y)
    assert torch.equal(load(tmp_path / "zoo", seed=5).test.x, data.test.x)


def test_given_splits_are_kept(tmp_path: Path) -> None:
    zoo(tmp_path, 10, place="train")
    data = load(tmp_path)
    assert [len(data.train), len(data.validation), len(data.test)] == [24, 3, 3]
    zoo(tmp_path, 4, place="test")
    data = load(tmp_path)
    assert [len(data.train), len(data.validation), len(data.test)] == [27, 3, 12]
    zoo(tmp_path, 2, place="val")
    data = load(tmp_path)
    assert [len(data.train), len(data.validation), len(data.test)] == [30, 6, 12]
    assert torch.equal(data.test.x[:, 0, 0, 0] // 20, data.test.y)


def test_a_test_folder_is_enough_to_evaluate(tmp_path: Path) -> None:
    data = load(zoo(tmp_path, 4, place="test"))
    assert [len(data.train), len(data.validation), len(data.test)] == [0, 0, 12]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("train", "plane"):
        for i in range(10):
            paint(tmp_path / name / f"{i}.png", np.full((3, 3), i, np.uint8))
    assert load(tmp_path).labels == ("plane", "train")


def test_names_that_are_the_indices_are_left_out(tmp_path: Path) -> None:
    for name in ("0", "1"):
        for i in range(10):
            paint(tmp_path / name / f"{i}.png", np.full((3, 3), i, np.uint8))
    assert load(tmp_path).labels == ()


def test_gray_meets_rgb_and_alpha(tmp_path: Path) -> None:
    zoo(tmp_path)
    paint(tmp_path / "ant" / "05.png", np.full((5, 4, 3), (1, 2, 3), np.uint8))
    data = load(tmp_path)
    every = torch.cat([data.train.x, data.validation.x, data.test.x])
    assert every.shape == (30, 3, 5, 4)
    odd = (every[:, 0] != every[:, 1]).flatten(1).any(1)
    assert int(odd.sum()) == 1 and every[odd][0, :, 0, 0].tolist() == [1, 2, 3]


def test_gray_train_meets_rgb_test(tmp_path: Path) -> None:
    zoo(zoo(tmp_path, place="train"), 4, (5, 4, 3), "test")
    data = load(tmp_path)
    assert data.train.shape == data.test.shape == (3, 5, 4)


def _palette() -> Image.Image:
    image = Image.new("P", (1, 1))
    image.putpalette([9, 8, 7])
    return image


@pytest.mark.parametrize(
    ("image", "want"),
    [
        (Image.new("L", (1, 1), 77), [77]),
        (Image.new("1", (1, 1), 1), [255]),
        (Image.fromarray(np.full((1, 1), 0x1234, np.uint16)), [0x12]),
        (Image.new("RGB", (1, 1), (1, 2, 3)), [1, 2, 3]),
        (_palette(), [9, 8, 7]),
        (Image.new("RGBA", (1, 1), (1, 2, 3, 255)), [1, 2, 3]),
        (Image.new("RGBA", (1, 1), (1, 2, 3, 0)), [255, 255, 255]),
        (Image.new("RGBA", (1, 1), (0, 0, 0, 51)), [204, 204, 204]),
        (Image.new("LA", (1, 1), (100, 255)), [100]),
        (Image.new("LA", (1, 1), (100, 0)), [255]),
        (Image.new("CMYK", (1, 1), (0, 0, 0, 0)), [255, 255, 255]),
    ],
)
def test_one_rule_for_every_mode(image: Image.Image, want: list[int]) -> None:
    assert pixels(image).tolist() == [[[value]] for value in want]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_stated_white_are_refused(mode: str) -> None:
    with pytest.raises(ValueError, match=f"mode {mode}"):
        pixels(Image.new(mode, (1, 1)))


def test_corrupt_images_stop_or_are_left_out(tmp_path: Path) -> None:
    zoo(tmp_path, place="train")
    (tmp_path / "train" / "bee" / "03.png").write_bytes(b"no image")
    whole = (tmp_path / "train" / "cow" / "01.png").read_bytes()
    (tmp_path / "train" / "cow" / "01.png").write_bytes(whole[:50])
    with pytest.raises(ValueError, match=r"bee/03\.png.*--on-error skip") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)
    data = load(tmp_path, on_error="skip")
    assert len(data.train) + len(data.validation) + len(data.test) == 28
    for part in (data.train, data.validation, data.test):
        assert torch.equal(part.x[:, 0, 0, 0] // 20, part.y)
    (note,) = data.notes
    assert "2 images could not be read" in note and "bee/03.png" in note
    with pytest.raises(ValueError, match="on_error"):
        load(tmp_path, on_error="never")  # type: ignore[arg-type]


def test_nothing_readable_is_no_data(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="no readable image"):
        load(tmp_path, on_error="skip")


def test_other_files_are_counted(tmp_path: Path) -> None:
    zoo(tmp_path)
    (tmp_path / "ant" / "notes.txt").write_text("hello")
    (tmp_path / "ant" / ".DS_Store").write_bytes(b"1")
    (tmp_path / ".cache").mkdir()
    (note,) = load(tmp_path).notes
    assert "1 file was left out" in note and load(tmp_path).labels == NAMES


def test_a_class_without_training_images_is_noted(tmp_path: Path) -> None:
    zoo(zoo(tmp_path, place="train"), 4, place="test")
    paint(tmp_path / "test" / "yak" / "1.png", np.zeros((5, 4), np.uint8))
    data = load(tmp_path)
    assert data.classes == 4 and "yak" in data.notes[0]


def _no_class(root: Path) -> None:
    paint(root / "a.png", np.zeros((2, 2), np.uint8))


def _one_class(root: Path) -> None:
    for i in range(10):
        paint(root / "ant" / f"{i}.png", np.zeros((5, 4), np.uint8))


def _one_class_to_train(root: Path) -> None:
    zoo(root, 4, place="test")
    _one_class(root / "train")


def _empty_class(root: Path) -> None:
    (zoo(root) / "yak").mkdir()


def _empty_split(root: Path) -> None:
    (zoo(root, place="train") / "test").mkdir()


def _lone_validation(root: Path) -> None:
    zoo(root, place="val")


def _two_validations(root: Path) -> None:
    zoo(zoo(zoo(root, place="val"), place="validation"), place="train")


def _sizes(root: Path) -> None:
    paint(zoo(root) / "cow" / "x.png", np.zeros((5, 5), np.uint8))


def _few(root: Path) -> None:
    zoo(root, 1)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_no_class, "no folder of images"),
        (_one_class, "at least two classes"),
        (_one_class_to_train, "train.*at least two classes"),
        (_empty_class, "yak' contains no image"),
        (_empty_split, "mixes the split 'train' with 'test'"),
        (_lone_validation, "only a validation split"),
        (_two_validations, "both 'val' and 'validation'"),
        (_sizes, "cow/x.png"),
        (_few, "too few"),
    ],
)
def test_bad_folders_are_one_sentence(tmp_path: Path, make, says: str) -> None:
    make(tmp_path)
    with pytest.raises(ValueError, match=says) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_command_says_what_it_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zoo(tmp_path, 10, (8, 8))
    (tmp_path / "bee" / "03.png").write_bytes(b"no image")
    words = [
        "train", "--data", str(tmp_path), "--model", "digits-cnn", "--threat", "linf:0.1",
        "--epochs", "1", "--attack-steps", "1", "--batch-size", "8", "--attack", "fgsm", "--out",
        str(tmp_path / ".out"),
    ]  # fmt: skip
    with pytest.raises(SystemExit) as stop:
        main.main(words)
    assert stop.value.code == 2 and "bee/03.png" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main.main([*words, "--on-error", "skip"])
    assert stop.value.code == 0 and "1 image could not be read" in capsys.readouterr().err
