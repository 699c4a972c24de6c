"""The log: the file holds every row, whatever columns the stages have."""

from __future__ import annotations

import builtins
import csv
from pathlib import Path

import pytest

from hauberk.training.log import Log

ROWS = [
    {"stage": "dense", "epoch": 1, "loss": 0.5},
    {"stage": "prune", "epoch": 1, "loss": 0.25, "kept": 0.1},
]


def read(path: Path) -> list[dict[str, str]]:
    with (path / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_file_is_complete_after_each_row(tmp_path: Path) -> None:
    log = Log(tmp_path, False)
    log.add(ROWS[0])
    assert read(tmp_path) == [{"stage": "dense", "epoch": "1", "loss": "0.5"}]
    log.add(ROWS[1])
    assert [row["kept"] for row in read(tmp_path)] == ["", "0.1"]
    assert log.history == ROWS


def test_without_a_folder_rows_stay_in_memory(tmp_path: Path) -> None:
    log = Log(None, True)
    log.add(ROWS[0])
    log.close()
    assert log.history == ROWS[:1] and not list(tmp_path.iterdir())


def test_a_restored_log_drops_later_rows(tmp_path: Path) -> None:
    first = Log(tmp_path, False)
    first.add(ROWS[0])
    tree = {"history": list(first.tree()["history"])}
    first.add(ROWS[1])
    second = Log(tmp_path, False)
    second.load(tree)
    assert second.history == ROWS[:1] and len(read(tmp_path)) == 1


def test_tensorboard_events_are_written(tmp_path: Path) -> None:
    log = Log(tmp_path, True)
    log.add(ROWS[0])
    log.close()
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_missing_tensorboard_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if "tensorboard" in name:
            raise ImportError(name)
        return whole(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"pip install 'hauberk\[tensorboard\]'"):
        Log(tmp_path, True)
