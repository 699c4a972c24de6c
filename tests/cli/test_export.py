"""``hauberk export`` and ``hauberk evaluate FILE.onnx`` as a person meets them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers.command import few_queries, refused, run
from tests.helpers.nets import artifact_of
from torch.nn import functional as F

import hauberk as hb
from hauberk.data import load
from hauberk.microcontroller.code_file import CodeFile
from hauberk.microcontroller.compiled import Compiled, agree
from hauberk.microcontroller.flash import code_bytes
from hauberk.microcontroller.reference import Reference
from hauberk.onnx.file import OnnxFile
from hauberk.verbs import compress

ASK = ["--data", "digits", "--threat", "linf:0.05", "--attack", "pgd:2", "--limit", "40"]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``model.hbk``: a small net, trained on digits for a second."""
    data, folder = load("digits"), tmp_path_factory.mktemp("shipped")
    net = hb.models.build("digits-cnn")
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    for x, y in data.train.batches(64):
        optimiser.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimiser.step()
    compress.encode(net.eval(), data, hb.artifact.Architecture.of(net)).save(folder / "model.hbk")
    own = compress.encode(net, data, None)
    own.save(folder / "own.hbk")
    return folder


@pytest.fixture(scope="module")
def onnx_file(shipped: Path) -> Path:
    run("export", str(shipped / "model.hbk"), "--format", "onnx")
    return shipped / "model.onnx"


def test_export_writes_beside_the_file(onnx_file: Path) -> None:
    assert OnnxFile.load(onnx_file).nbytes == onnx_file.stat().st_size
    assert not list(onnx_file.parent.glob(".*"))


def test_export_prints_one_json_object(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "net.onnx"
    words = ["export", str(shipped / "model.hbk"), "--format", "onnx", "--out", str(out)]
    run(*words, "--json")
    seen = capsys.readouterr()
    made = json.loads(seen.out)
    assert seen.err == ""
    assert made["file"] == str(out) and made["format"] == "onnx"
    assert made["bytes"] == out.stat().st_size and made["opset"] >= 20
    assert made["inputs"] == [{"name": "images", "dtype": "float32", "shape": ["batch", 1, 8, 8]}]
    assert made["outputs"][0]["shape"] == ["batch", 10]
    run(*words)
    assert f"{made['bytes']:,} bytes" in capsys.readouterr().out


def test_evaluate_takes_the_onnx(
    shipped: Path, onnx_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = []
    for path in (shipped / "model.hbk", onnx_file):
        run("evaluate", str(path), *ASK, "--no-checks", "--json")
        rows.append(json.loads(capsys.readouterr().out))
    ours, theirs = rows
    assert theirs["file"] == str(onnx_file) and theirs["bytes"] == onnx_file.stat().st_size
    assert theirs["clean"] == ours["clean"] and theirs["clean_split"] == ours["clean_split"]
    assert set(theirs) == set(ours) and theirs["n"] == 40
    assert theirs["attack"] == "pgd:2 + square" and "square" in theirs["taken"]
    lost = sum(taken["count"] for taken in theirs["taken"].values())
    left = theirs["clean"]["accuracy"] - theirs["robust"]["accuracy"]
    assert round(left * theirs["n"]) == lost
    assert theirs["robust"]["accuracy"] <= theirs["attacks"]["pgd:2"]["accuracy"]
    assert set(theirs["latency_ms"]["batch64"]) == {"median", "p05", "p95", "dense_median", "ratio"}


def test_eight_bits_from_the_command(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "net.onnx"
    words = ["export", str(shipped / "model.hbk"), "--format", "onnx-int8", "--out", str(out)]
    assert "given no --data" in refused(capsys, *words)
    run(*words, "--data", "digits", "--json")
    made = json.loads(capsys.readouterr().out)
    assert made["computes"] == "int8" and made["bytes"] == out.stat().st_size
    assert made["bytes"] < made["dense_bytes"] / 3
    dense = ["--dense", str(shipped / "model.hbk")]
    run("evaluate", str(out), *ASK, *dense, "--no-checks", "--json")
    row = json.loads(capsys.readouterr().out)
    assert row["attack"] == "pgd:2 + transfer + square"
    assert row["dense_bytes"] == made["dense_bytes"] and row["bytes"] == made["bytes"]


def test_damaged_and_foreign_onnx_files_are_refused(
    onnx_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = onnx_file.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for name, content in {
        "empty": b"", "cut": whole[:-7], "bit": bytes(flipped), "noise": bytes(range(256)) * 9,
        "hbk": onnx_file.with_suffix(".hbk").read_bytes(),
    }.items():  # fmt: skip
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        assert f"{name}.onnx" in refused(capsys, "evaluate", str(path), *ASK)
    assert "missing.onnx" in refused(capsys, "evaluate", str(tmp_path / "missing.onnx"), *ASK)


def test_bad_exports_get_one_sentence_and_write_nothing(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, good = (shipped / "model.hbk").read_bytes(), str(shipped / "model.hbk")
    (tmp_path / "cut.hbk").write_bytes(whole[:-9])
    out = ["--out", str(tmp_path / "out" / "x.onnx")]
    for words, mention in (
        (["nowhere.hbk", *out], "nowhere.hbk"),
        ([str(tmp_path / "cut.hbk"), *out], "cut.hbk"),
        ([str(shipped / "own.hbk"), *out], "in Python model=MyNet()"),
        ([good, "--format", "tflite", *out], "the formats are onnx, onnx-int8"),
        ([good, "--format", "onnx-int8", "--data", "nowhere", *out], "nowhere"),
        ([good, "--out", str(tmp_path / "out" / "x.hbk")], "ending in .onnx"),
        ([good, "--out", str(tmp_path / "cut.hbk" / "x.onnx")], "could not be written"),
        ([], "export --help"),
    ):
        assert mention in refused(capsys, "export", *words)
    assert [path.name for path in tmp_path.iterdir()] == ["cut.hbk"]


def test_a_network_of_one_s_own_is_exported_from_python(shipped: Path, tmp_path: Path) -> None:
    net = hb.models.build("digits-cnn", seed=5)
    made = hb.export(shipped / "own.hbk", out=tmp_path / "own.onnx", model=net).made
    assert made == OnnxFile.load(tmp_path / "own.onnx")
    assert made.about.architecture is None


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``small.hbk``, trained on 16 × 16, and images of 24 × 20."""
    folder = tmp_path_factory.mktemp("generator")
    net = hb.models.build("cyclegan-resnet9:4,1")
    artifact_of(net, (3, 16, 16), classes=0).save(folder / "small.hbk")
    rng = np.random.default_rng(0)
    for k in range(8):
        path = folder / "album" / ("test" if k < 2 else "train") / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 20, 3), np.uint8)).save(path)
    return folder


@pytest.mark.slow
def test_a_generator_is_exported_at_a_size(
    generator: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(generator / "small.hbk")]
    run(*words, "--image-size", "32", "--json")
    made = json.loads(capsys.readouterr().out)
    assert made["inputs"][0]["shape"] == made["outputs"][0]["shape"] == ["batch", 3, 32, 32]
    assert made["outputs"][0]["name"] == "output"
    album = ["--data", str(generator / "album"), "--format", "onnx-int8"]
    for size, more in {16: [], 32: ["--image-size", "32"]}.items():
        run(*words, *album, *more, "--json")
        made = json.loads(capsys.readouterr().out)
        assert made["computes"] == "int8" and made["inputs"][0]["shape"][2:] == [size, size]
    assert "give the side of a square" in refused(capsys, *words, "--image-size", "-3")
    digits = ["--data", "digits", "--format", "onnx-int8"]
    assert "calibration images have the shape" in refused(capsys, *words, *digits)


@pytest.mark.slow
def test_a_classifier_takes_no_image_size(
    shipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(shipped / "model.hbk"), "--image-size", "32"]
    assert "An image size was given for a classifier" in refused(capsys, "export", *words)


@pytest.mark.slow
def test_c_is_written_compiled_and_equal_to_its_reference(
    shipped: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few_queries(monkeypatch)
    out = tmp_path / "net.c"
    words = ["export", str(shipped / "model.hbk"), "--format", "c", "--data", "digits"]
    run(*words, "--target", "host", "--out", str(out), "--json")
    made = json.loads(capsys.readouterr().out)
    assert made["target"] == "host" and made["outputs"][0]["shape"] == [10]
    assert "net_predict" in out.with_suffix(".h").read_text()
    file, data = CodeFile.load(out), load("digits")
    code, twin = Compiled(file), Reference(file.graph)
    x = data.test.first(200).images()
    agree(code, twin, x)
    net = hb.load(shipped / "model.hbk")
    same = (net(x).argmax(1) == code(x).argmax(1)).double().mean()
    assert same > 0.97
    run("evaluate", str(out), *ASK, "--no-checks", "--json")
    row = json.loads(capsys.readouterr().out)
    assert row["bytes"] == code_bytes(file)
    assert row["robust"]["accuracy"] <= row["clean"]["accuracy"]
    run("inspect", str(shipped / "model.hbk"), "--target", "host", "--json")
    part = json.loads(capsys.readouterr().out)["on_target"]
    assert abs(part["flash_bytes"] - row["bytes"]) <= 0.05 * row["bytes"]
    assert part["ram_bytes"] == file.ram_bytes and part["instructions"] is None


def test_bad_c_exports_get_one_sentence(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(shipped / "model.hbk")
    assert "no --data" in refused(capsys, "export", file, "--format", "c")
    assert "no target 'z80'" in refused(
        capsys, "export", file, "--format", "c", "--data", "digits", "--target", "z80"
    )
    words = ("export", file, "--format", "c", "--data", "digits", "--out", str(tmp_path / "net.h"))
    assert "ending in .c" in refused(capsys, *words)
    assert not list(tmp_path.iterdir())
