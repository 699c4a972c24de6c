"""``hauberk evaluate --task image`` and `evaluate_images`, on a small generator and its folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tests.helpers.command import refused, run

import hauberk as hb
from hauberk.artifact import Architecture, Artifact

GENERATOR = "cyclegan-resnet9:4,1"


def saved(spec: str, path: Path, classes: int, seed: int = 0) -> Path:
    net = hb.models.build(spec, seed=seed)
    Artifact.encode(
        net.state_dict(),
        architecture=Architecture.of(net),
        input_shape=(3, 16, 16),
        classes=classes,
    ).save(path)
    return path


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense generator, another one, a classifier, and eight photographs to test on."""
    folder = tmp_path_factory.mktemp("bench")
    saved(GENERATOR, folder / "dense.hbk", 0)
    saved(GENERATOR, folder / "small.hbk", 0, seed=1)
    saved("resnet18:1", folder / "robust.hbk", 10)
    saved("pix2pix-unet:2,2,1", folder / "grey.hbk", 0)
    saved("pix2pix-unet:2,2,3", folder / "unet.hbk", 0)
    save_file(hb.models.build(GENERATOR, seed=1).state_dict(), folder / "small.safetensors")
    rng = np.random.default_rng(0)
    for split, count in {"train": 4, "test": 4}.items():
        for k in range(count):
            path = folder / "album" / split / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8)).save(path)
    return folder


def words(bench: Path, file: str = "small.hbk", dense: str = "dense.hbk") -> list[str]:
    return [
        "evaluate", str(bench / file), "--task", "image", "--dense", str(bench / dense),
        "--data", str(bench / "album"), "--image-size", "16",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_command_end_to_end(
    bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--features", str(bench / "robust.hbk"), "--picture", str(tmp_path / "sheet.png")]
    run(*words(bench), *more, "--cost-size", "32", "--json")
    row = json.loads(capsys.readouterr().out)
    assert set(row["to_teacher"]) == {"mse", "psnr", "ssim", "perceptual", "frechet"}
    assert row["n"] == 4 and row["shape"] == [3, 16, 16] and row["cost_shape"] == [3, 32, 32]
    assert row["bytes"] == (bench / "small.hbk").stat().st_size
    assert row["features"].startswith("robust.hbk, input of fc, ")
    assert row["macs"]["dense"] == row["dense_macs"] > 0
    low, high = row["to_teacher"]["psnr"]["ci95"]
    assert low <= row["to_teacher"]["psnr"]["value"] <= high
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 4 * 192


def test_the_table_names_the_features_and_the_distances(
    bench: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(*words(bench), "--features", f"{bench / 'robust.hbk'}:stage1_1", "--limit", "2")
    text = " ".join(capsys.readouterr().out.split())
    for part in ("PSNR, dB", "SSIM", "Fréchet", "2 images of 3 × 16 × 16", "stage1_1", "small.hbk"):
        assert part in text
    assert "FID" not in text


def test_plain_weights_and_modules(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(*words(bench, "small.safetensors"), "--model", GENERATOR, "--json")
    by_command = json.loads(capsys.readouterr().out)
    report = hb.evaluate_images(
        hb.models.build(GENERATOR, seed=1),
        bench / "album",
        dense=bench / "dense.hbk",
        features=hb.models.build("resnet18:1"),
        image_size=16,
        truth=torch.zeros(4, 3, 16, 16),
        device="cpu",
    )
    (row,) = report.rows
    assert row.to_teacher["mse"].json() == by_command["to_teacher"]["mse"]
    assert row.to_truth["psnr"].n == 4
    assert "float32 state dict" in report.findings()[0]
    assert report.provenance["scikit-image"] and "dense.hbk" in str(report.provenance["dense"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--dense", ""], "evaluate was given no --dense; give --dense dense.hbk"),
        (["--threat", "linf:0.1"], "--threat is no flag of evaluate --task image; leave it out"),
        (["--restarts", "2"], "--restarts is no flag of evaluate --task image"),
        (["--dense", "{bench}/grey.hbk"], "The dense net cannot take the images of"),
        (["--dense", "{bench}/robust.hbk"], "give a dense net from images to images"),
        (["--dense", "{bench}/none.hbk"], "none.hbk does not exist"),
        (["--features", "{bench}/dense.hbk"], "dense.hbk cannot give features, because it is no"),
        (["--features", "{bench}/robust.hbk:stage"], "no layer 'stage'; did you mean stage1_1?"),
        (["--limit", "1"], "given 1 held-out images; give 2 or more"),
        (["--picture", "{bench}/sheet.jpg"], "give a path that ends in .png"),
    ],
)
def test_a_bad_input_is_one_line(
    change: list[str], said: str, bench: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = refused(capsys, *words(bench), *(word.format(bench=bench) for word in change))
    assert said in found, found


@pytest.mark.slow
def test_an_onnx_file_is_measured_in_its_runtime(
    bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime", reason="hauberk[onnx] is not installed")
    hb.export(bench / "small.hbk", out=tmp_path / "small.onnx")
    run(*words(bench, "small.hbk"), "--json")
    in_torch = json.loads(capsys.readouterr().out)
    onnx = [str(tmp_path / "small.onnx"), *words(bench)[2:]]
    run("evaluate", *onnx, "--json")
    row = json.loads(capsys.readouterr().out)
    assert row["bytes"] == (tmp_path / "small.onnx").stat().st_size
    mse = row["to_teacher"]["mse"]["value"]
    assert mse == pytest.approx(in_torch["to_teacher"]["mse"]["value"], rel=1e-3)
    assert row["latency_ms"]["batch1"]["dense_median"] > 0
    assert "takes images of 3 × 16 × 16 only" in refused(
        capsys, "evaluate", *onnx, "--cost-size", "32"
    )
    assert "give images of this size" in refused(capsys, "evaluate", *onnx, "--image-size", "20")


def test_sizes_that_a_net_cannot_take(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unet = words(bench, "unet.hbk", "unet.hbk")
    assert "cannot take the images of" in refused(capsys, *unet, "--image-size", "18")
    assert "unet.hbk cannot take images of 3 × 30 × 30" in refused(capsys, *unet, "--cost-size=30")


def test_each_task_refuses_the_nets_and_the_flags_of_the_other(
    bench: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = refused(capsys, *words(bench, "robust.hbk"))
    assert "robust.hbk is a classifier of 10 classes; evaluate it with --task classes" in found
    classes = ["evaluate", str(bench / "small.hbk"), "--data", "digits", "--threat", "linf:0.1"]
    assert "small.hbk is an image-to-image network; evaluate it with --task image" in refused(
        capsys, *classes
    )
    foreign = [*classes, "--picture", "a.png"]
    assert "--picture is no flag of evaluate --task classes" in refused(capsys, *foreign)
    assert "--task was given as x; give one of" in refused(capsys, *classes, "--task", "x")
