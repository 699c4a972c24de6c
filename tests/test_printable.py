"""Text from files and users: escaped on terminals, in reports, tables and pictures."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from hauberk.artifact import Artifact, ArtifactError, table
from hauberk.cli.console import Bars, say, stderr
from hauberk.cli.data import table as data_table
from hauberk.cli.errors import exit_code
from hauberk.cli.inspect import draw
from hauberk.cli.inspect import table as inspect_table
from hauberk.data import load
from hauberk.evaluation import Proportion, Report, Row
from hauberk.networks import check_fit
from hauberk.plots.tradeoff import tradeoff
from hauberk.printable import dumps, markdown, printable, sheet

HOSTILE = (
    "[/b]",
    "[red]x",
    "[link=http://evil/]a[/link]",
    ":smile:",
    "\x1b]0;owned\x07\x1b[31mred",
    "\x9b31m",
    "a\nhauberk: a faked line",
    "a\rb",
    "evil\u202egnp.exe",
    "a\u2066b\u200f",
    "\udcff",
    "$\\frac{$",
    "a|b<img src=x>&amp;`c`",
)


def shown(renderable: object) -> str:
    out = io.StringIO()
    Console(file=out, width=200, force_terminal=True, color_system=None).print(renderable)
    return out.getvalue()


def row(name: str) -> Row:
    result = Proportion(5, 10)
    return Row(name, 100, 1000, name, name, result, result, name=name, warnings=(name,))


@pytest.mark.parametrize("text", HOSTILE)
def test_printable_steers_nothing(text: str) -> None:
    found = printable(text)
    assert found.isprintable() and "\u202e" not in found
    assert found.encode() and printable(found) == found


@pytest.mark.parametrize("text", HOSTILE)
def test_reports_are_escaped(text: str, tmp_path: Path) -> None:
    report = Report([row(text)], {"command": text, "data": text})
    on_terminal = shown(report.table(200))
    assert printable(text) in on_terminal.replace("\n", "")
    assert "\x1b]" not in on_terminal and "\x9b" not in on_terminal
    report.save(tmp_path)
    written = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert written.replace("\n", "").isprintable() and "<img" not in written
    assert [line.count(" | ") for line in written.splitlines()[:3]] == [8, 8, 8]
    stored = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert stored["rows"][0]["name"] == text
    tradeoff([row(text)], tmp_path / "t.png", title=text)


@pytest.mark.parametrize("text", HOSTILE)
def test_progress_and_errors_are_escaped(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ValueError(text)

    stderr.file = None  # type: ignore[assignment]  # the one that pytest captures
    say(text)
    Bars(SimpleNamespace(), text).note(text)  # type: ignore[arg-type]
    assert exit_code(fail) == 2
    found = capsys.readouterr().err
    assert found.count("\n") == 3 and found.replace("\n", "").isprintable()
    assert printable(text) in found


@pytest.mark.parametrize("name", ["[/b]", "[red]x", "[link=http://evil/]a[/link]", "$\\frac{$"])
def test_class_and_layer_names_are_no_markup(name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((20, 8, 8), np.uint8), y=np.array([name, "b"] * 10))
    assert name in shown(data_table(load(tmp_path / "d.npz")))
    state = {name: torch.ones(40, 40)}
    Artifact.encode(
        state, architecture=None, input_shape=(1, 8, 8), classes=2, labels=(name, "b")
    ).save(tmp_path / "m.hbk")
    artifact = Artifact.load(tmp_path / "m.hbk")
    assert shown(inspect_table(artifact, name)).count(name) == 3
    draw(artifact, name, tmp_path / "m.png")


UNFIT = ("\x1b[31mred", "a\nb", "\u202eb", "\x9bx", "x" * 1025)


@pytest.mark.parametrize("name", UNFIT)
def test_tensor_names_are_checked_before_they_are_written(name: str) -> None:
    with pytest.raises(ValueError, match="has a tensor called") as caught:
        Artifact.encode({name: torch.ones(4)}, architecture=None, input_shape=(1, 8, 8), classes=10)
    assert str(caught.value).isprintable()
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    net.register_parameter(name, nn.Parameter(torch.ones(1)))
    with pytest.raises(ValueError, match="The model has a tensor called"):
        check_fit(net, load("digits"))


@pytest.mark.parametrize("name", UNFIT)
def test_tensor_names_are_checked_as_they_are_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as unchecked:
        unchecked.setattr(table, "refuse_names", lambda names, of: None)
        Artifact.encode(
            {name: torch.ones(4)}, architecture=None, input_shape=(1, 8, 8), classes=10
        ).save(tmp_path / "m.hbk")
    with pytest.raises(ArtifactError):
        Artifact.load(tmp_path / "m.hbk")


def test_formats_keep_ordinary_text() -> None:
    assert markdown("model_a-2% (linf:8/255)") == "model_a-2% (linf:8/255)"
    assert sheet("=1+1") == "'=1+1" and sheet(-2) == -2 and sheet("a\nb") == "a\\nb"
    assert json.loads(dumps({"a": "\x1b\u202e\udcff é"})) == {"a": "\x1b\u202e\udcff é"}
