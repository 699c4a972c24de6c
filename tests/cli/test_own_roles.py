"""Roles of the user's own by name: a method, a threat, an objective, in a file of theirs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.helpers.command import refused, run

from hauberk.cli.run_spec import RunSpec
from hauberk.cli.sweep.plan import Plan
from hauberk.cli.sweep.sweep_spec import SweepSpec
from hauberk.methods import AP
from hauberk.objectives import Natural
from hauberk.runtime.notes import Note
from hauberk.threats import Linf

MINE = '''
from dataclasses import dataclass

from hauberk.methods import AP
from hauberk.objectives import Natural
from hauberk.runtime.notes import Note
from hauberk.threats import Linf


@dataclass(frozen=True, kw_only=True)
class Halved(AP):
    """Prunes half.

    Attributes:
        vigour: of nothing in particular.
    """

    vigour: float = 1.0


class Half:
    """No method."""


near = Linf(0.05)


def far():
    return Linf(0.2)


def broken():
    raise RuntimeError("no\\nluck")


def calm(threat):
    return Natural()


def empty(threat):
    return 3
'''
WORDS = ["compress", "--data", "digits", "--model", "digits-cnn"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a module ``ownroles``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "ownroles", raising=False)
    (tmp_path / "ownroles.py").write_text(MINE)
    return tmp_path


def test_a_method_of_ones_own_has_its_flags(place: Path) -> None:
    words = [*WORDS, "--threat", "ownroles:near", "--method", "ownroles:Halved"]
    spec = RunSpec.parse([*words, "--vigour", "3", "--keep", "50%"])
    assert isinstance(spec.method, AP) and vars(spec.method)["vigour"] == 3
    assert spec.threat is not None and spec.threat.threat == Linf(0.05)
    again = RunSpec.from_toml(spec.to_toml())
    assert again == spec
    (place / "run.toml").write_text(spec.to_toml())
    with pytest.warns(Note, match="run.toml names code, which is run: ownroles:Halved"):
        changed = RunSpec.parse(["compress", "run.toml", "--vigour", "4"])
    assert vars(changed.method)["vigour"] == 4 and changed.method.keep == 0.5  # type: ignore[attr-defined]


def test_its_flags_are_in_the_help_and_in_sweeps(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("compress", "--method", "ownroles:Halved", "--help")
    assert "--vigour" in capsys.readouterr().out
    words = ["--data", "digits", "--model", "digits-cnn", "--threat", "ownroles:far"]
    spec = SweepSpec.parse([*words, "--methods", "ap,ownroles:Halved", "--vigour", "1,2"])
    names = [each.name for each in Plan.of(spec).runs]
    assert spec.method_names == ["ap", "ownroles:Halved"] and len(names) == 3, names


def test_an_objective_of_ones_own_is_the_loss(place: Path) -> None:
    words = [*WORDS, "--threat", "linf:0.1", "--objective", "ownroles:calm"]
    spec = RunSpec.parse(words)
    assert spec.threat is not None
    assert spec.method.objective(spec.threat.threat) == Natural()


@pytest.mark.slow
def test_a_run_with_all_three_ships_a_file(
    place: Path, start: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    roles = ["--threat", "ownroles:near", "--method", "ownroles:Halved"]
    short = ["--epochs", "1", "--attack-steps", "1", "--attack", "pgd:2", "--limit", "10", "--json"]
    data = ["--data", str(start / "few.npz"), "--from", str(start / "dense.hbk")]
    run("compress", *data, *roles, "--objective", "ownroles:calm", *short, "--out", "own")
    report = json.loads(capsys.readouterr().out)
    assert report["rows"][-1]["bytes"] == Path("own/model.hbk").stat().st_size
    assert "ownroles:Halved" in Path("own/run.toml").read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--method", "ownroles:Half"], "ownroles:Half is no method"),
        (["--method", "ownroles:Gone"], "has no 'Gone'"),
        (["--method", "nowhere:Gone"], "could not be imported"),
        (["--threat", "ownroles:broken"], "ownroles:broken failed (RuntimeError: no luck)"),
        (["--threat", "ownroles:Half"], "gave an object of type Half"),
        (["--method", "ownroles:Halved", "--vigor", "2"], "did you mean --vigour"),
        (["--objective", "ownroles:empty"], "gave an object of type int"),
        (["--objective", "ownroles:calm", "--trades", "6"], "leave them out"),
    ],
)
def test_what_is_no_such_role_gets_one_line(
    words: list[str], says: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in refused(capsys, *WORDS, "--threat", "linf:0.1", *words, "--out", "bad")
    assert not (place / "bad").exists()
