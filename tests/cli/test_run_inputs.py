"""A run is what it was: what is resumed or reused has the same data, weights, code and teacher."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.helpers import pictures
from tests.helpers.command import refused, run
from tests.helpers.nets import conv, toy
from torch import nn

import hauberk as hb
from hauberk.data import load
from hauberk.runtime.source_code import digest_of_classes, digest_of_place
from hauberk.verbs.run_inputs import changes, data_digest, file_digest, merged, run_inputs

NET = "from helper import layer\n\ndef build():\n    return layer()\n"
HELPER = """
from torch import nn

def layer():
    return nn.Sequential(nn.Flatten(), nn.Linear({}, 10))
"""
QUICK = ["--epochs", "1", "--attack-steps", "1", "--attack", "fgsm", "--limit", "20"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "helper.py").write_text(HELPER.format(64))
    for name in ("net", "helper"):  # of another test
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestCode:
    def test_comments_do_not_count_and_helpers_do(self, place: Path) -> None:
        first = digest_of_place("net:build")
        (place / "net.py").write_text("# the net\n" + NET.replace("    return", "    return  "))
        (place / "other.py").write_text("x = 1\n")
        assert digest_of_place("net:build") == first
        (place / "helper.py").write_text(HELPER.format(65))
        assert digest_of_place("net:build") != first

    def test_packages_and_relative_imports(self, place: Path) -> None:
        (place / "pack").mkdir()
        (place / "pack" / "__init__.py").touch()
        (place / "pack" / "net.py").write_text("from . import parts\nfrom .more import x\n")
        (place / "pack" / "more.py").write_text("import pack.net\nx = 1\n")
        (place / "pack" / "parts.py").write_text("y = 1\n")
        seen = {digest_of_place("pack.net:build")}
        for name in ("parts.py", "more.py"):
            with (place / "pack" / name).open("a") as file:
                file.write("z = 2\n")
            seen.add(digest_of_place("pack.net:build"))
        assert len(seen) == 3

    @pytest.mark.parametrize("text", ["absent:build", "torch._C:x", "sys:path"])
    def test_what_has_no_source(self, text: str) -> None:
        assert digest_of_place(text) == ""

    def test_broken_code_has_a_digest(self, place: Path) -> None:
        (place / "broken.py").write_text("def (:\n")
        assert digest_of_place("broken:build")

    def test_classes_of_torch_do_not_count(self) -> None:
        assert digest_of_classes({nn.Linear, hb.Normalized}) == ""
        assert digest_of_classes({TestCode}) == digest_of_classes({TestCode, nn.Linear}) != ""


def test_data_by_content(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).integers(0, 9, (40, 4, 4), np.uint8), np.arange(40) % 2
    found = data_digest(load((x, y)))
    assert data_digest(load((x.copy(), y))) == found
    for a, b in ((x + 1, y), (x, y[::-1].copy()), (x[:30], y[:30])):
        assert data_digest(load((a, b))) != found
    assert data_digest(load((x, np.array(["a", "b"])[y]))) != found


def test_a_large_split_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hauberk.verbs.run_inputs._WHOLE", 1000)
    assert data_digest(toy()) == data_digest(toy())


def test_what_only_one_side_knows_is_no_change() -> None:
    assert changes({"data": "a", "teacher": "b"}, {"data": "c", "start weights": "d"}) == ["data"]
    assert merged({"data": "a"}, {"data": "b", "teacher": "c"}) == {"data": "a b", "teacher": "c"}
    assert "start weights" in run_inputs(conv(), toy(), trained=True)
    assert "start weights" not in run_inputs(conv(), toy(), trained=False)
    assert file_digest(Path("absent")) == ""


def _npz(path: Path, shift: int) -> None:
    d = load("digits")
    np.savez(path, x=d.train.x[:120].numpy(), y=(d.train.y[:120].numpy() + shift) % 10)


def _folder(root: Path, level: int) -> None:
    pictures.zoo(root, 10, (8, 8))
    pictures.paint(root / "ant" / "00.png", np.full((8, 8), level, np.uint8))


def _parquet(path: Path, level: int) -> None:
    image = pictures.encoded(np.full((8, 8), level, np.uint8))
    pictures.write(path, [image] * 60, [k % 10 for k in range(60)], 10)


CHANGED = {
    "npz": ("d.npz", _npz),
    "folder": ("photos", _folder),
    "parquet": ("d.parquet", _parquet),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", CHANGED)
def test_other_data_of_the_same_name(
    place: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    name, make = CHANGED[kind]
    make(place / name, 1)
    words = ["train", "--data", name, "--model", "net:build", "--threat", "linf:0.1", *QUICK]
    run(*words, "--batch-size", "16", "--out", "r")
    make(place / name, 2)
    capsys.readouterr()
    said = refused(capsys, *words, "--batch-size", "16", "--out", "r", "--resume")
    assert "the checkpoint of a run with other data (the names are the same" in said


@pytest.mark.slow
def test_other_weights_code_and_teacher(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _npz(place / "d.npz", 0)
    base = ["--data", "d.npz", "--model", "net:build", "--threat", "linf:0.1", *QUICK]
    for seed in ("1", "2"):
        run("train", *base, "--seed", seed, "--out", f"t{seed}")
    shutil.copy("t1/model.hbk", "start.hbk")
    shutil.copy("t1/model.hbk", "teacher.hbk")
    words = ["compress", *base, "--method", "ap", "--keep", "50%", "--from", "start.hbk"]
    words += ["--teacher", "teacher.hbk", "--out", "r"]
    run(*words)
    capsys.readouterr()
    for name in ("start", "teacher"):
        shutil.copy("t2/model.hbk", f"{name}.hbk")
        said = refused(capsys, *words, "--resume")
        assert ("with other start weights (" if name == "start" else "with other teacher (") in said
        shutil.copy("t1/model.hbk", f"{name}.hbk")
    (place / "helper.py").write_text(HELPER.format("8 * 8"))
    assert "with other network code (" in refused(capsys, *words, "--resume")


@pytest.mark.slow
def test_a_sweep_reuses_only_the_same(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _npz(place / "d.npz", 0)
    words = ["sweep", "--data", "d.npz", "--model", "net:build", "--threat", "linf:0.1"]
    words += ["--methods", "ap", "--sizes", "50%", *QUICK, "--dense-epochs", "1", "--out", "s"]
    run(*words)
    run(*words, "--resume")
    _npz(place / "d.npz", 1)
    capsys.readouterr()
    said = refused(capsys, *words, "--resume")
    assert "ap-50%-seed0 was made with other data (the names are the same" in said


@pytest.mark.slow
def test_another_network_is_no_traceback(tmp_path: Path) -> None:
    method = hb.DA().with_(epochs=1, attack_steps=1)
    hb.train(conv(), toy(), threat=hb.Linf(0.1), method=method, out=tmp_path)
    other = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    with pytest.raises(ValueError, match="the checkpoint of another network") as caught:
        hb.train(
            other, toy(), threat=hb.Linf(0.1), method=method, out=tmp_path, run=hb.Run(resume=True)
        )
    assert "\n" not in str(caught.value)


def test_the_start_of_python_is_an_input(tmp_path: Path) -> None:
    method, nets = hb.AP().with_(keep=0.5, epochs=0), [conv(), conv()]
    with torch.no_grad():
        next(nets[1].parameters()).add_(1.0)
    settings = {"threat": hb.Linf(0.1), "method": method, "out": tmp_path, "pretrained": True}
    hb.compress(nets[0], toy(), **settings)
    hb.compress(nets[0], toy(), **settings, run=hb.Run(resume=True))
    with pytest.raises(ValueError, match="other start weights"):
        hb.compress(nets[1], toy(), **settings, run=hb.Run(resume=True))
