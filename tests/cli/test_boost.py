"""Boosting on the command line."""

import json
from pathlib import Path

import pytest
from tests.helpers.command import FAST, refused, run

import hauberk as hb
from hauberk.cli.run_spec import RunSpec
from hauberk.models import Ensemble

BOOST = ["--method", "boost", "--model", "digits-cnn", *FAST]


@pytest.mark.slow
def test_train_ships_a_sum_of_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("train", *BOOST, "--members", "2", "--epochs", "2", "--judge-steps", "3", "--limit", "20",
        "--attack", "pgd:2", "--out", str(tmp_path))  # fmt: skip
    assert "Member 2 has weight" in capsys.readouterr().err
    net = hb.load(tmp_path / "model.hbk")
    assert isinstance(net, Ensemble) and len(net.members) == 2
    report = json.loads((tmp_path / "report.json").read_text())
    assert [row["name"] for row in report["rows"]] == ["RobustBoosting"]
    assert 'method = "boost"' in (tmp_path / "run.toml").read_text()


def test_a_file_of_settings_reproduces_the_run() -> None:
    spec = RunSpec.parse(["train", *BOOST, "--members", "3", "--how", "joint"])
    assert RunSpec.from_toml(spec.to_toml()) == spec
    assert isinstance(spec.method, hb.RobustBoosting) and spec.method.members == 3
    assert "--method=boost" in spec.command
    budget = RunSpec.parse(["compress", *BOOST, "--size", "4139B"])
    assert isinstance(budget.method, hb.RobustBoosting) and budget.method.size == "4139B"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", *BOOST, "--members", "0"], "members was given as 0"),
        (["train", *BOOST, "--size", "9kB"], "hauberk compress --method boost"),
        (["train", *FAST, "--model", "digits-cnn", "--method", "atmc"], "give da or boost"),
        (["train", *FAST, "--model", "digits-cnn", "--method", "bosst"], "no method 'bosst'"),
        (["train", *FAST, "--model", "digits-cnn", "--members", "2"], "methods with it are boost"),
        (["compress", *BOOST, "--members", "40", "--size", "3kB"], "take at least"),
    ],
)
def test_bad_words_are_one_line(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in refused(capsys, *words, "--out", str(tmp_path))


def test_another_number_of_members_is_no_resumption(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["--epochs", "1", "--lr", "1e-9", "--judge-steps", "1", "--out", str(tmp_path)]
    assert "nothing to boost" in refused_after_training(capsys, *quick)
    run("train", *BOOST, *quick, "--members", "3", "--resume", code=2)
    assert "other settings" in capsys.readouterr().err


def refused_after_training(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    run("train", *BOOST, *words, code=2)
    return capsys.readouterr().err
