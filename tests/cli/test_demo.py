"""The processes of ``hauberk demo`` end when it ends, however that was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import os, sys, time
from pathlib import Path
from hauberk.cli import demo

def busy(out, name, seed):
    part = out / f"{name}.part"
    part.write_text(str(os.getpid()))
    part.rename(out / f"{name}.pid")
    time.sleep(120)

if __name__ == "__main__":
    demo.make = busy
    list(demo._each(Path(sys.argv[1]), 0))
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_the_demo(signum: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    parent = subprocess.Popen([sys.executable, script, tmp_path], stderr=subprocess.DEVNULL)
    try:
        _until(lambda: any(tmp_path.glob("*.pid")))
        workers = [int(path.read_text()) for path in tmp_path.glob("*.pid")]
        parent.send_signal(signum)
        assert parent.wait(20) != 0
        _until(lambda: not any(map(_alive, workers)))
    finally:
        parent.kill()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def _until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
