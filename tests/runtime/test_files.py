"""Files: they appear complete or not at all, and every fault is a one-line error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hauberk.runtime import files


def test_write_replaces_a_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.bin"
    for content in (b"one", b"two"):
        files.write(path, content)
        assert path.read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == ["a.bin"]


def test_a_written_file_has_the_mode_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    files.write(tmp_path / "a", b"")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write(tmp_path / "a", b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device\); choose"):
        files.write(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_read_names_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert files.read(tmp_path / "a", "an .hbk file", 5) == b"12345"
    with pytest.raises(OSError, match=r"5 bytes, more than an \.hbk file may have"):
        files.read(tmp_path / "a", "an .hbk file", 4)
    with pytest.raises(FileNotFoundError, match=r"does not exist; give an \.hbk file"):
        files.read(tmp_path / "b", "an .hbk file")
    with pytest.raises(OSError, match=r"give an \.hbk file"):
        files.read(tmp_path, "an .hbk file")


def test_ready_leaves_no_trace(tmp_path: Path) -> None:
    files.ready(tmp_path / "a" / "b")
    assert (tmp_path / "a").is_dir() and not (tmp_path / "a" / "b").exists()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="could not be written"):
        files.ready(tmp_path / "file" / "b")
    files.ready(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "file"]


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file is a file; choose the name of a folder\.$"):
        files.ready(tmp_path / "file")
    with pytest.raises(OSError, match=r"file/b could not be written \(Not a directory\)"):
        files.ready(tmp_path / "file" / "b")
