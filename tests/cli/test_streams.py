"""Standard streams of other encodings, closed, full or narrow: no result is lost at the end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hauberk.artifact import Architecture, Artifact
from hauberk.models import build

RUN = (sys.executable, "-m", "hauberk")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file") / "m.hbk"
    net = build("digits-cnn")
    Artifact.encode(
        net.state_dict(),
        architecture=Architecture.of(net),
        input_shape=(1, 8, 8),
        classes=10,
        labels=tuple(f"Zahl–{k}ß\u4e00" for k in range(10)),
    ).save(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoding", "columns"), [("ascii", "0"), ("latin-1", "1"), ("cp437", "7"), ("shift-jis", "x")]
)
def test_every_encoding_and_width_gets_a_table(file: Path, encoding: str, columns: str) -> None:
    env = os.environ | {"PYTHONIOENCODING": encoding, "COLUMNS": columns}
    made = subprocess.run((*RUN, "inspect", str(file)), env=env, capture_output=True)
    assert made.returncode == 0, made.stderr
    assert "fc2.weight" in made.stdout.decode(encoding) and not made.stderr
    if encoding == "ascii":
        assert b"classes: Zahl-0" in made.stdout


@pytest.mark.parametrize("verb", ["inspect", "evaluate", "data"])
def test_a_closed_stdout_is_named_before_the_work(file: Path, verb: str) -> None:
    line = f'"$0" -m hauberk {verb} {file} >&-'
    made = subprocess.run(["sh", "-c", line, sys.executable], capture_output=True, text=True)
    assert made.returncode == 2 and "Standard output is closed" in made.stderr
    assert made.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_a_file_is_written_with_closed_streams(file: Path, tmp_path: Path, closed: str) -> None:
    out = tmp_path / "m.onnx"
    line = f'"$0" -m hauberk export {file} --out {out} {closed}'
    made = subprocess.run(["sh", "-c", line, sys.executable], capture_output=True, text=True)
    assert made.returncode == 0 and not made.stderr and out.stat().st_size > 1000


def test_a_full_disk_is_one_line(file: Path) -> None:
    line = f'"$0" -m hauberk inspect {file} >/dev/full'
    made = subprocess.run(["sh", "-c", line, sys.executable], capture_output=True, text=True)
    assert made.returncode == 2 and made.stderr.count("\n") == 1


def test_an_argument_that_is_no_text_is_named(tmp_path: Path) -> None:
    words = (*RUN, "train", "--data", "digits", "--out", b"bad\xff")
    made = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert made.returncode == 2 and "not valid UTF-8" in made.stderr
    assert made.stderr.count("\n") == 1 and not list(tmp_path.iterdir())
