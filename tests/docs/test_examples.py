"""The example of the guide, at a tiny size: photographs and a checkpoint to an int8 ONNX file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guides" / "photographs.md").read_text(encoding="utf-8")
SMALLER = {
    "make_photos.py": "make_photos.py --each 12",
    "make_signals.py": "make_signals.py --count 80",
    "--dense-epochs 6": "--dense-epochs 1",
    "--codebook-epochs 2": "--codebook-epochs 1",
    "--attack pgd:10": "--attack fgsm",
    "--attack-steps 3": "--attack-steps 1",
    "--attack-steps 2": "--attack-steps 1",
    "--image-size 48": "--image-size 24",
    "--limit 60": "--limit 10",
    "--out runs/robust": "--limit 10 --out runs/robust",
    "--out runs/small": "--limit 10 --most-bits 2 --out runs/small",
}


def commands(section: str) -> Iterator[str]:
    """The commands of a part of the page, in their order, with fewer epochs and images."""
    for block in re.findall(r"^```(?:sh|bash)\n(.*?)^```$", section, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            for old, new in SMALLER.items():
                line = line.replace(old, new)
            line = re.sub(r"(?<!-)--epochs \d+", "--epochs 1", line)
            yield line.replace("pretrain.py", "pretrain.py --size 24")


def follow(section: str, folder: Path) -> str:
    """Run the commands in a folder; what they print."""
    said = []
    folders = [ROOT / "src", os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders)), "OMP_NUM_THREADS": "1"}
    for line in commands(section):
        words = line.replace("hauberk ", "-m hauberk ", 1).replace("python ", "", 1).split()
        done = subprocess.run(
            [sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
        said.append(done.stdout + done.stderr)
    return "\n".join(said)


@pytest.mark.slow
@pytest.mark.long
def test_photographs_to_a_file_that_runs_alone(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "photographs", tmp_path / "here")
    said = follow(PAGE.partition("## A signal")[0], tmp_path / "here")
    small = tmp_path / "here" / "runs" / "small"
    assert (small / "model-int8.onnx").stat().st_size <= 50_000
    assert "names were matched, such as 'module.features" in said
    assert "The start classifies" in said and "as the file records" in said
    assert re.search(r"000\.jpg: (brick|grass|gravel|retina|stars|tissue) \(\d+%\)", said)


@pytest.mark.slow
@pytest.mark.long
def test_signals(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "signals", tmp_path / "here")
    follow(
        f"```sh\npython make_signals.py\n```\n{PAGE.partition('## A signal')[2]}", tmp_path / "here"
    )
    assert (tmp_path / "here" / "runs" / "small" / "model-int8.onnx").stat().st_size <= 50_000
