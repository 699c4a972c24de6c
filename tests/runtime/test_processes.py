"""Several processes that share each batch: the run is the same, and outlives the loss of one."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers import shared_run, victims
from tests.helpers.command import run
from torch import nn

import hauberk as hb
from hauberk.ops.random import generator, normal_like, uniform_like
from hauberk.runtime.launch import wanted
from hauberk.runtime.processes import ALONE, Group, joined

pytestmark = pytest.mark.slow

HERE = Path(__file__).parents[2]


def environment(**more: str) -> dict[str, str]:
    here = f"{HERE}{os.pathsep}{HERE / 'src'}"
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": here, **more}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """The same methods by one process and by two."""
    out = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    given = [(shared_run.follow_as, rank, 2, port, out / "2.json") for rank in (0, 1)]
    both = [victims.start(*words) for words in given]
    shared_run.follow(out / "1.json")
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    return {count: json.loads((out / f"{count}.json").read_text()) for count in (1, 2)}


@pytest.mark.parametrize("name", ["atmc", "admm", "min-max"])
def test_two_processes_give_the_loss_curve_of_one(found, name: str) -> None:
    one, two = found[1][name], found[2][name]
    assert len(one["loss"]) == len(two["loss"]) >= 5
    assert len(set(one["share"])) == (5 if name == "min-max" else 1)
    for key in ("loss", "val_loss", "share"):
        assert one[key] == pytest.approx(two[key], abs=1e-5), key
    assert one["kept"] == two["kept"]
    assert one["weights"] == pytest.approx(two["weights"], rel=1e-4)


def test_nothing_is_sent_while_an_attack_searches(found) -> None:
    assert found[1]["long attack"]["sent"] == 0
    long, short = (found[2][f"{kind} attack"]["sent"] for kind in ("long", "short"))
    assert long == short > 0


NETS = """
import os, signal
from hauberk import models
from torch import nn

class Mortal(nn.Module):
    passes = 0
    def forward(self, x):
        Mortal.passes += 1
        if os.environ.get("RANK") == "1" and Mortal.passes == 40:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

def net():
    return nn.Sequential(Mortal(), models.build("digits-cnn"))
"""


def words(out: str, *more: str) -> list[str]:
    first = "train --data few.npz --model mortal:net --threat linf:0.1 --epochs 5 --attack-steps 1"
    return [
        *first.split(),
        "--batch-size",
        "32",
        "--attack",
        "fgsm",
        "--limit",
        "10",
        "--out",
        out,
        *more,
    ]


def command(start: Path, folder: Path, out: str, *more: str) -> subprocess.CompletedProcess[str]:
    (folder / "mortal.py").write_text(NETS)
    shutil.copy(start / "few.npz", folder)
    return subprocess.run(
        [sys.executable, "-m", "hauberk", *words(out, *more)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def losses(path: Path) -> list[float]:
    with (path / "metrics.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.mark.slow
def test_a_killed_process_ends_the_run_which_resumes_on_another_number(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = command(start, tmp_path, "killed", "--devices", "2")
    assert killed.returncode == 128 + signal.SIGKILL
    assert killed.stderr.count("hauberk:") == 1 and "Traceback" not in killed.stderr
    assert "Process 1 of 2 was ended by SIGKILL" in killed.stderr and "--resume" in killed.stderr
    before = losses(tmp_path / "killed")
    assert 0 < len(before) < 5 and not (tmp_path / "killed" / "model.hbk").exists()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    run(*words("killed", "--resume"))
    after = losses(tmp_path / "killed")
    assert after[: len(before)] == before
    alone = hb.compress(
        nn.Sequential(nn.Identity(), hb.models.build("digits-cnn")),
        str(tmp_path / "few.npz"),
        method=hb.DA().with_(epochs=5, attack_steps=1, batch_size=32),
        threat=hb.Linf(0.1),
    )
    assert after == pytest.approx([row["loss"] for row in alone.history], abs=1e-3)


def test_a_fault_that_all_find_is_said_once(start: Path, tmp_path: Path) -> None:
    done = command(start, tmp_path, "out", "--devices", "2", "--batch-size", "1")
    assert done.returncode == 2
    assert done.stderr.count("hauberk:") == 1 and "Traceback" not in done.stderr
    assert "A batch of 1 cannot be shared by 2 processes" in done.stderr


@pytest.mark.parametrize(
    ("devices", "nodes", "head", "sentence"),
    [
        (0, 1, "", "--devices was given as 0; give 1 or more"),
        (1, -1, "", "--nodes was given as -1; give 1 or more"),
        (2, 2, "", "--nodes was given as 2 with no --head; give HOST:PORT"),
    ],
)
def test_counts_that_mean_nothing(devices: int, nodes: int, head: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        wanted(devices, nodes, head)


def test_one_of_several_starts_no_others(monkeypatch) -> None:
    assert wanted(2, 1, "") and wanted(1, 2, "a:1") and not wanted(1, 1, "")
    monkeypatch.setenv("RANK", "0")
    assert not wanted(2, 1, "")


def test_processes_that_never_meet(monkeypatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(ValueError, match="RANK and WORLD_SIZE"):
        joined()


@pytest.mark.parametrize("count", [2, 5, 7, 128])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_parts_are_the_whole(count: int, size: int) -> None:
    parts = [range(count)[Group(rank, size).part(count)] for rank in range(size)]
    assert [row for part in parts for row in part] == list(range(count))
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1


def test_a_part_draws_what_the_whole_draws() -> None:
    x = torch.zeros(7, 3)
    for draw in (uniform_like, normal_like):
        whole = draw(x, generator(0, "a"))
        rng = generator(0, "a")
        rng.part, rng.whole = slice(2, 5), 7
        assert torch.equal(draw(x[2:5], rng), whole[2:5])


def test_alone_nothing_changes() -> None:
    x = torch.arange(3.0)
    ALONE.all_reduce_([x])
    ALONE.broadcast_([x])
    ALONE.all_reduce_max_(x)
    ALONE.barrier()
    assert (
        x.tolist() == [0, 1, 2]
        and ALONE.all_reduce_max(3) == 3
        and ALONE.broadcast_bytes(b"a") == b"a"
    )
    assert ALONE.first and joined() == ALONE
