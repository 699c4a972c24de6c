"""`--task image`: a generator of one's own and a folder of photographs go the whole way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hauberk import models
from hauberk.artifact import Architecture
from hauberk.cli import main
from hauberk.cli.run_spec import RunSpec
from hauberk.data import load
from hauberk.verbs import compress

NETS = """
import torch
from torch import nn


def generator():
    torch.manual_seed(0)
    norm = nn.InstanceNorm2d(8, affine=True)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), norm, nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1), nn.Sigmoid()
    )


def classifier():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
"""
QUICK = ["--image-size", "16", "--epochs", "1", "--slim-epochs", "2", "--batch-size", "4"]
IMAGE = ["compress", "--task", "image", "--data", "photos"]
OWN = ["--model", "mynets:generator", "--from", "generator.pt"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with photographs of several sizes, and a trained generator."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "mynets", raising=False)
    (tmp_path / "mynets.py").write_text(NETS)
    import mynets

    torch.save(mynets.generator().state_dict(), "generator.pt")
    torch.save(mynets.classifier().state_dict(), "classifier.pt")
    torch.save(mynets.generator(), "whole.pt")
    rng = np.random.default_rng(0)
    features = models.build("lenet:1")
    digits = load("digits")
    compress.encode(features, digits, Architecture.of(features)).save("lenet.hbk")
    for folder, mode, count in (("photos", "RGB", 24), ("grey", "L", 24), ("few", "RGB", 10)):
        Path(folder).mkdir()
        for k in range(count):
            coarse = Image.fromarray((255 * rng.random((4, 4, 3))).astype(np.uint8))
            coarse.resize((20 + k, 30)).convert(mode).save(f"{folder}/{k}.png")
    return tmp_path


def run(words: list[str]) -> int:
    with pytest.raises(SystemExit) as stop:
        main.main(words)
    return int(stop.value.code or 0)


@pytest.mark.slow
def test_from_photographs_to_a_small_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*IMAGE, *OWN, *QUICK, "--discriminator", "2", "--levels", "1", "--json"]
    assert run([*words, "--out", "slim"]) == 0
    report = json.loads(capsys.readouterr().out)
    dense, small = report["rows"]
    assert small["bytes"] == (place / "slim" / "model.hbk").stat().st_size < dense["bytes"]
    assert dense["to_teacher"]["mse"]["value"] == 0 < small["to_teacher"]["mse"]["value"]
    with Image.open("slim/sheet.png") as sheet:
        assert sheet.size[0] > 200
    again = RunSpec.from_toml(Path("slim/run.toml").read_text())
    assert (again.task, again.threat, str(again.data.image_size)) == ("image", None, "16")
    assert run([*words, "--out", "slim", "--resume"]) == 0
    resumed = json.loads(capsys.readouterr().out)["rows"][1]
    assert resumed["to_teacher"] == small["to_teacher"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--model", "mynets:classifier", "--from", "classifier.pt"], "from images to images"),
        (["--model", "mynets:generator", "--from", "whole.pt"], "save the weights alone"),
        (["--model", "mynets:generator"], "was given no --from"),
        ([*OWN, "--data", "grey"], "to have 3 channels, but got 1"),
        ([*OWN, "--data", "few"], "given 1 held-out images; give 2 or more"),
        ([*OWN, "--image-size", "0"], "bring them to one with --image-size"),
        ([*OWN, "--threat", "linf:0.1"], "--threat is no flag of compress --task image"),
        ([*OWN, "--attack", "pgd:5"], "--attack is no flag of compress --task image"),
        ([*OWN, "--features", "none.hbk"], "none.hbk does not exist"),
        ([*OWN, "--features", "lenet.hbk"], "lenet.hbk"),
        ([*OWN, "--temperature", "2"], "settings of soft labels"),
    ],
)
def test_a_bad_input_gets_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert run([*IMAGE, *QUICK, *words, "--out", "bad"]) == 2
    said = capsys.readouterr().err.strip()
    assert says in said
    assert "\n" not in said
    assert not (place / "bad").exists()


@pytest.mark.slow
def test_a_narrow_network_imitates_a_teacher(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = models.network("cyclegan-resnet9:4,blocks=1")
    dense = compress.encode(
        net, load("photos", labelled=False, image_size=16), Architecture.of(net)
    )
    dense.save("dense.hbk")
    student = [
        "--model",
        "cyclegan-resnet9:2,blocks=1",
        "--teacher",
        "dense.hbk",
        "--strength",
        "0",
    ]
    assert run([*IMAGE, *QUICK, *student, "--json", "--out", "narrow"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows[0]["bytes"] == Path("dense.hbk").stat().st_size > rows[1]["bytes"]
    assert rows[0]["to_teacher"]["mse"]["value"] == 0


@pytest.mark.slow
def test_a_file_is_slimmed_and_images_that_cannot_be_drawn_have_no_sheet(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    np.savez("infrared.npz", x=(255 * rng.random((24, 4, 16, 16))).astype(np.uint8))
    net = models.network("cyclegan-resnet9:4,blocks=1,channels=4")
    data = load("infrared.npz", labelled=False)
    compress.encode(net, data, Architecture.of(net)).save("dense.hbk")
    words = ["compress", "--task", "image", "--data", "infrared.npz", "--from", "dense.hbk"]
    assert run([*words, *QUICK[2:], "--out", "slim"]) == 0
    assert "only gray and RGB images are drawn" in capsys.readouterr().err
    assert Path("slim/report.json").exists() and not Path("slim/sheet.png").exists()


def test_other_methods_need_labels(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*IMAGE, *OWN, "--method", "al0", "--image-size", "16"]) == 2
    assert "--method al0 needs labels" in capsys.readouterr().err


def test_flags_of_the_image_task_are_foreign_to_the_other(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compress", "--data", "digits", "--model", "digits-cnn", "--threat", "linf:0.1"]
    assert run([*words, "--features", "a.hbk"]) == 2
    assert "--features is no flag of compress --task classes" in capsys.readouterr().err


def test_help_of_the_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compress", "--task", "image", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--features" in shown and "--discriminator" in shown and "--threat " not in shown
