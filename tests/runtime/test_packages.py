"""Packages: versions, extras, one-line errors, and a user's own module:name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from hauberk.runtime.packages import find, gist, here, is_place, need, version


def test_versions() -> None:
    assert version("torch").partition("+")[0] == torch.__version__.partition("+")[0]
    assert version("no-such-distribution") == "not installed"


def test_a_missing_package_names_its_extra() -> None:
    need("onnx", "json", "csv")
    with pytest.raises(ValueError, match=r"no_such_module.*pip install 'hauberk\[onnx\]'"):
        need("onnx", "json", "no_such_module")


@pytest.mark.parametrize(
    ("message", "wanted"),
    [("a\n  b.\n", "a b"), ("", "KeyError"), ("\x1b[1mred", "[1mred"), ("x" * 500, "x" * 160)],
)
def test_gist_is_one_printable_line(message: str, wanted: str) -> None:
    class Plain(KeyError):
        def __str__(self) -> str:
            return message

    Plain.__name__ = "KeyError"
    assert gist(Plain()) == wanted


@pytest.mark.parametrize("text", ["a:b", "a.b_1:C"])
def test_what_reads_like_a_place(text: str) -> None:
    assert is_place(text)


@pytest.mark.parametrize("text", ["a", "a:", ":b", "a:b:c", "a.:b", "1:b", "C:\\data", "a b:c"])
def test_what_does_not(text: str) -> None:
    assert not is_place(text)


def test_names_are_found_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_place_here.py").write_text("thing = 3")
    (tmp_path / "own_place_broken.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    assert find("own_place_here:thing") == 3
    with pytest.raises(ValueError, match="own_place_here has no 'other'"):
        find("own_place_here:other")
    with pytest.raises(ValueError, match="ZeroDivisionError: division by zero"):
        find("own_place_broken:thing")
    with pytest.raises(ValueError, match="ModuleNotFoundError"):
        find("own_place_missing:thing")
    assert sys.path == path
    with here():
        assert sys.path[0] == str(tmp_path)
    assert sys.path == path
