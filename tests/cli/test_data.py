"""``hauberk data``: what it counts, what it draws, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hauberk.cli import main
from hauberk.cli.data import as_json
from hauberk.data import load
from hauberk.dataset import Data, Examples
from hauberk.plots.contact_sheet import draw


def run(*words: str, code: int = 0) -> None:
    with pytest.raises(SystemExit) as stop:
        main.main(words)
    assert stop.value.code == code


def made(shape: tuple[int, ...], classes: int, labels: tuple[str, ...] = ()) -> Data:
    """Every image of class k is of one gray, k + 1."""
    y = torch.arange(4 * classes) % classes
    x = (y + 1).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, *shape).contiguous()
    some = Examples(x, y)
    return Data("made", some, some.first(0), some.first(classes), classes, labels)


def test_it_counts_by_class_and_split(capsys: pytest.CaptureFixture[str]) -> None:
    run("data", "digits", "--json")
    shown = json.loads(capsys.readouterr().out)
    assert shown["splits"] == {"train": 1078, "validation": 270, "test": 449}
    assert shown["shape"] == [1, 8, 8] and len(shown["classes"]) == 10
    for split, count in shown["splits"].items():
        assert sum(each[split] for each in shown["classes"]) == count
    train = load("digits").train.y
    assert shown["classes"][3]["train"] == int((train == 3).sum())
    run("data", "digits")
    text = capsys.readouterr().out
    assert "1,078" in text and "8 × 8 pixels, gray, uint8" in text


def test_the_sheet_has_the_images_of_every_class(tmp_path: Path) -> None:
    data = made((3, 8, 8), 5, ("a", "b" * 40, "$x_1$", "猫", "W" * 27))
    draw(data, tmp_path / "new" / "sheet.png", each=6)
    with Image.open(tmp_path / "new" / "sheet.png") as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"))
    for k in range(5):
        at = (pixels == k + 1).all(2)
        assert int(at.sum()) >= 4 * 64 * 64, "four images of 64 pixels"
        rows = at.any(1).nonzero()[0]
        assert 64 <= rows[-1] - rows[0] + 1 <= 70 and rows[0] > 30
    ink = (pixels < 200).all(2)
    assert not ink[:, :12].any() and not ink[:8].any(), "nothing is cut off at the border"


@pytest.mark.parametrize(
    ("shape", "classes"), [((1, 300, 200), 2), ((1, 2, 9), 3), ((3, 4, 4), 99)]
)
def test_large_flat_and_many(tmp_path: Path, shape: tuple[int, ...], classes: int) -> None:
    draw(made(shape, classes), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.width < 2000 and picture.height < 4000


def test_a_test_split_alone_is_shown(tmp_path: Path) -> None:
    data = made((1, 4, 4), 2)
    none = data.train.first(0)
    alone = Data("alone", none, none, data.test, 2)
    draw(alone, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size
    assert as_json(alone)["classes"][1] == {
        "index": 1, "label": "1", "train": 0, "validation": 0, "test": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("data", "nothing"), "unknown"),
        (("data", "digits", "--picture", "a.jpg"), ".png"),
        (("data", "digits", "--picture", "a.png", "--each", "0"), "1 or more"),
        (("data",), "hauberk data --help"),
    ],
)
def test_what_it_refuses(
    words: tuple[str, ...],
    says: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    run(*words, code=2)
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_inputs_that_are_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="give images"):
        draw(made((2, 4, 4), 2), Path("a.png"))
