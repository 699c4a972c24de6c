"""``pip install hauberk`` stays light: extras are imported where they are used, and named where
they are missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import hauberk as hb
from tests.helpers.command import refused

pytestmark = pytest.mark.slow

EXTRAS = (
    "datasets", "onnx", "onnxruntime", "onnxscript", "pyarrow", "ray", "scipy", "skimage",
    "sklearn", "tensorboard",
)  # fmt: skip
CORE = """
import sys
import hauberk
import pytest
from tests.helpers.command import anchors, few_queries
few_queries(pytest.MonkeyPatch())
anchors(pytest.MonkeyPatch(), 4)
from hauberk.cli import main as cli
cli.main(["--help"])
try:
    cli.main(sys.argv[2:])
except SystemExit as stop:
    assert not stop.code, stop.code
print("imported:", *(name for name in sys.argv[1].split(",") if name in sys.modules))
"""


def test_a_compression_imports_no_extra(start: Path, tmp_path: Path) -> None:
    words = [
        "compress", "--from", str(start / "dense.hbk"), "--data", str(start / "few.npz"),
        "--threat", "linf:0.1", "--epochs", "1", "--codebook-epochs", "0", "--attack-steps", "1",
        "--attack", "fgsm", "--limit", "5", "--out", str(tmp_path),
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", CORE, ",".join(EXTRAS), *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model.hbk").exists()
    assert done.stdout.splitlines()[-1] == "imported:"


def missing(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """The package cannot be imported, as if it were not installed."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)


@pytest.mark.parametrize(
    ("extra", "package", "words"),
    [
        ("hub", "datasets", ["train", "--model", "digits-cnn", "--data", "hub:some/zoo"]),
        ("hub", "datasets", ["data", "hub:some/zoo"]),
        ("onnx", "onnx", ["export", "{dense}"]),
        ("onnx", "onnxscript", ["export", "{dense}"]),
        ("onnx", "onnxruntime", ["export", "{dense}"]),
        ("onnx", "onnxruntime", ["export", "{dense}", "--format", "onnx-int8", "--data", "{few}"]),
        ("parquet", "pyarrow", ["data", "{images}"]),
        ("ray", "ray", ["sweep", "--from", "{dense}", "--data", "{few}", "--methods", "al0",
                        "--ray", "--out", "{out}"]),
        ("tensorboard", "tensorboard", ["train", "--model", "digits-cnn", "--data", "{few}",
                                        "--epochs", "1", "--tensorboard", "--out", "{out}"]),
    ],
)  # fmt: skip
def test_a_missing_extra_is_named(
    extra: str, package: str, words: list[str], start: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    missing(monkeypatch, package)
    places = {"dense": start / "dense.hbk", "few": start / "few.npz", "out": tmp_path / "out"}
    places["images"] = tmp_path / "some.parquet"
    places["images"].touch()
    threat = ["--threat", "linf:0.1"] if words[0] in ("train", "sweep") else []
    said = refused(capsys, *(word.format(**places) for word in words), *threat)
    assert f"run pip install 'hauberk[{extra}]'" in said and package in said
    assert not (tmp_path / "out" / "model.hbk").exists()


def test_evaluating_an_onnx_file_names_its_extra(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pytest.importorskip("onnxruntime", reason="hauberk[onnx] is not installed")
    hb.export(start / "dense.hbk", out=tmp_path / "dense.onnx")
    missing(monkeypatch, "onnxruntime")
    words = ["evaluate", str(tmp_path / "dense.onnx"), "--data", str(start / "few.npz")]
    assert "pip install 'hauberk[onnx]'" in refused(capsys, *words, "--threat", "linf:0.1")


def test_evaluating_images_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("skimage", reason="hauberk[images] is not installed")
    missing(monkeypatch, "skimage")
    net, few = hb.models.build("cyclegan-resnet9:2,1"), torch.rand(24, 3, 16, 16)
    with pytest.raises(ValueError, match=r"skimage .* pip install 'hauberk\[images\]'"):
        hb.evaluate_images(net, list(few), dense=net, device="cpu")
