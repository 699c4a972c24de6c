"""One run a folder: a second one is refused, a killed one blocks nothing."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hauberk.cli.main import main
from hauberk.runtime.lock import NAME, InUse, locked
from hauberk.runtime.processes import Group

HOLD = """
import sys, time
from pathlib import Path
from hauberk.runtime.lock import locked
with locked(Path(sys.argv[1])):
    (Path(sys.argv[1]) / "begun").touch()
    print("begun", flush=True)
    time.sleep(600)
"""
DEAD = 2**22 + 1  # no process has it: Linux counts to 2^22


def holder(folder: Path) -> subprocess.Popen[str]:
    made = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert made.stdout and made.stdout.readline() == "begun\n"
    return made


@pytest.mark.slow
def test_a_second_process_is_refused_and_a_killed_one_blocks_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = holder(tmp_path / "run")
    try:
        named = f"process {first.pid} on {socket.gethostname()} since"
        with pytest.raises(InUse, match=named), locked(tmp_path / "run"):
            pass
        words = ["--data", "digits", "--model", "digits-cnn", "--threat", "linf:0.1", "--out"]
        with pytest.raises(SystemExit) as ended:
            main(["train", *words, str(tmp_path / "run")])
        found = capsys.readouterr().err
        assert ended.value.code == 2 and found.count("\n") == 1
        assert f"is in use by process {first.pid}" in found
        assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [NAME, "begun"]
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    assert (tmp_path / "run" / NAME).exists()
    with locked(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / NAME).read_text())["pid"] == os.getpid()
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["begun"]


def test_a_thread_may_lock_again_and_another_one_may_not(tmp_path: Path) -> None:
    caught: list[Exception] = []

    def other() -> None:
        try:
            with locked(tmp_path):
                pass
        except InUse as error:
            caught.append(error)

    with locked(tmp_path):
        with locked(tmp_path / ".." / tmp_path.name):
            pass
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert (tmp_path / NAME).exists()
    assert "another thread" in str(caught[0]) and not [*tmp_path.iterdir()]


@dataclass(frozen=True)
class Rank(Group):
    """One process of a run that torchrun started, as a thread: the first one's words reach all."""

    words: queue.Queue[bytes | None] = field(default_factory=queue.Queue)

    def broadcast_bytes(self, content: bytes | None) -> bytes | None:
        if self.first:
            for _ in range(self.size - 1):
                self.words.put(content)
            return content
        return self.words.get(timeout=10)


def test_the_processes_of_one_run_share_a_folder_and_another_run_is_refused(
    tmp_path: Path,
) -> None:
    inside, over = threading.Barrier(4), threading.Event()

    def hold(group: Group) -> None:
        with locked(tmp_path / "run", group):
            inside.wait(10)
            over.wait(10)

    def refused(group: Group) -> str:
        with pytest.raises(InUse) as caught, locked(tmp_path / "run", group):
            pass
        return str(caught.value)

    with ThreadPoolExecutor(6) as pool:
        words: queue.Queue[bytes | None] = queue.Queue()
        ranks = [pool.submit(hold, Rank(rank, 3, words=words)) for rank in range(3)]
        inside.wait(10)
        other: queue.Queue[bytes | None] = queue.Queue()
        others = [pool.submit(refused, Rank(rank, 2, words=other)) for rank in range(2)]
        told = {other.result(10) for other in others}
        assert len(told) == 1 and "in use" in told.pop()
        over.set()
        for rank in ranks:
            rank.result(10)
    with locked(tmp_path / "run"):
        pass


def test_a_folder_in_which_nothing_was_written_is_removed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "a" / "b"):
        1 / 0  # noqa: B018
    assert not [*tmp_path.iterdir()]
    with locked(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "model.hbk").touch()
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["model.hbk"]
    with locked(None):
        pass


def test_what_is_no_lock_is_one_line(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"kept")
    for name, make in {
        "link": lambda path: path.symlink_to(target),
        "pipe": os.mkfifo,
        "folder": Path.mkdir,
    }.items():
        (tmp_path / name).mkdir()
        make(tmp_path / name / NAME)
        fault = pytest.raises(OSError, match="could not be written")
        with fault as caught, locked(tmp_path / name):
            pass
        assert "\n" not in str(caught.value)
    assert target.read_bytes() == b"kept"
    with pytest.raises(NotADirectoryError, match="is a file"), locked(target):
        pass


@pytest.mark.parametrize(
    ("content", "refused"),
    [
        (b"", False),
        (b"\x00" * 5000, False),
        (b"[" * 1000, False),
        (b'{"pid": 1e400, "host": [], "start": 0}', False),
        (json.dumps({"pid": DEAD, "host": socket.gethostname(), "start": "then"}).encode(), False),
        (json.dumps({"pid": 1, "host": socket.gethostname(), "start": "then"}).encode(), True),
        (json.dumps({"pid": DEAD, "host": "elsewhere", "start": "then"}).encode(), True),
    ],
)
def test_without_locks_of_the_file_system_the_named_process_counts(
    content: bytes, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / NAME).write_bytes(content)
    with locked(tmp_path):  # the system's lock is free, whatever the file says
        pass
    (tmp_path / NAME).write_bytes(content)

    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    if refused:
        with pytest.raises(InUse, match="since then"), locked(tmp_path):
            pass
    else:
        with locked(tmp_path):
            pass
