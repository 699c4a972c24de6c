"""Ray: a sweep on two workers is the same sweep; what fails, dies or is stopped ends well.

Skipped where Ray is not installed; the extra ``dev`` brings it, so that CI runs this.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.command import refused, run
from tests.helpers.sweeps import NAMES, sameness, table, words

from hauberk.cli.sweep import ray

pytestmark = pytest.mark.slow

pytest.importorskip("ray", reason="Ray is not installed: pip install 'hauberk[ray]'")


@pytest.fixture(scope="module")
def two() -> Iterator[str]:
    """The address of a cluster with two processors, on this machine, that ignores SIGINT.

    So does every cluster that a shell has started in the background.
    """
    from ray.cluster_utils import Cluster

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 0})
    signal.signal(signal.SIGINT, before)
    yield made.address
    made.shutdown()


def test_two_workers_make_the_same_table(
    two: str, start: Path, swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(*words(start, tmp_path, "--ray", two))
    assert sameness(tmp_path) == sameness(swept)
    assert NAMES[0] in capsys.readouterr().out
    run(*words(start, tmp_path, "--ray", two, "--resume"))  # nothing is left to do
    assert sameness(tmp_path) == sameness(swept)


def test_calls_run_side_by_side_and_end_in_every_way(two: str, tmp_path: Path) -> None:
    def call(folder: str, name: str) -> int:
        mine, other = (Path(folder, n) for n in (name, "ab".replace(name, "")))
        mine.touch()
        if name == "dies":
            os._exit(1)
        if name == "raises":
            raise OSError("no room")
        began = time.monotonic()
        while not other.exists() and time.monotonic() - began < 60:
            time.sleep(0.05)
        return os.getpid() if other.exists() else 0

    def spread(*names: str) -> dict[str, Any]:
        every = [(str(tmp_path), name) for name in names]
        return {names[i]: got for i, got in ray.spread(call, every, cpus=1, gpu=None)}

    with ray.joined(two):
        both = spread("a", "b")
        assert 0 not in both.values() and both["a"] != both["b"]
        assert isinstance(spread("dies")["dies"], ray.Lost)
        with pytest.raises(OSError, match=r"^no room$"):
            spread("raises")
        with pytest.raises(ValueError, match="asks for 3 processors and 0 GPUs"):
            list(ray.spread(call, [("", "a")], cpus=3, gpu=False))
        with pytest.raises(ValueError, match="and 1 GPUs, and no machine"):
            list(ray.spread(call, [("", "a")], cpus=1, gpu=True))


def test_calls_that_are_stopped_may_save_what_they_did(two: str, tmp_path: Path) -> None:
    def call(folder: str, name: str) -> None:
        if name == "quick":
            while not Path(folder, "begun").exists():
                time.sleep(0.05)
            return
        try:
            Path(folder, "begun").touch()
            while True:
                time.sleep(0.05)
        except KeyboardInterrupt:
            time.sleep(1)
            Path(folder, "saved").touch()
            raise

    with ray.joined(two):
        calls = ray.spread(
            call, [(str(tmp_path), name) for name in ("slow", "quick")], cpus=1, gpu=None
        )
        assert next(calls) == (1, None)
        calls.close()
        assert (tmp_path / "saved").exists()


def test_a_cluster_of_its_own(start: Path, tmp_path: Path) -> None:
    """``--ray`` alone; its runs fail, which takes the least time."""
    run(*words(start, tmp_path, "--atmc.lr", "1e30", "--ray", seeds="0"), code=2)
    for row in table(tmp_path):
        assert row["state"] == "failed" and "diverged" in str(row["error"])


def test_what_ray_cannot_do_is_one_sentence(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for address in ("127.0.0.1:9", "somewhere"):
        given = words(start, tmp_path, "--ray", address)
        assert f"There is no Ray cluster at '{address}'" in refused(capsys, *given)
    given = words(start, tmp_path, "--ray", "--device", "cuda:1")
    assert "give --device cuda." in refused(capsys, *given)
    assert list(tmp_path.iterdir()) == []
