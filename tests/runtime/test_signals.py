"""Signals: a closed terminal ends a run as SIGTERM does, with its checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hauberk.runtime.signals import Interrupted, deferred, raised

ON_A_TERMINAL = """
import os, pty, signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it would be ignored
pid, terminal = pty.fork()
if not pid:
    os.execv(sys.executable, [sys.executable, "-m", "hauberk", *sys.argv[2:]])
while not os.path.exists(sys.argv[1]):
    os.read(terminal, 1 << 16)
os.close(terminal)
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.slow
def test_a_closed_terminal_leaves_a_checkpoint(tmp_path: Path) -> None:
    words = "train --data digits --model digits-cnn --threat linf:0.1 --epochs 200 --limit 20"
    train = [*words.split(), "--attack", "pgd:3", "--out", str(tmp_path / "run")]
    begun = str(tmp_path / "run" / "metrics.csv")
    made = subprocess.run([sys.executable, "-c", ON_A_TERMINAL, begun, *train], check=False)
    assert made.returncode == 128 + signal.SIGHUP
    found = {p.name for p in (tmp_path / "run").iterdir()}
    assert "checkpoint.safetensors" in found and ".lock" not in found


def test_hangups_are_heard_unless_they_are_ignored() -> None:
    outside = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with deferred() as caught:
        os.kill(os.getpid(), signal.SIGHUP)
        assert caught == [signal.SIGHUP]
    with pytest.raises(Interrupted), raised():
        os.kill(os.getpid(), signal.SIGHUP)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with deferred() as caught, raised():
            os.kill(os.getpid(), signal.SIGHUP)
        assert not caught
    finally:
        signal.signal(signal.SIGHUP, outside)
