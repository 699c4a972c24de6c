"""Methods by their flags alone: each ships what it promises, or refuses before any training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.helpers.command import FAST, refused, run

import hauberk as hb


@pytest.mark.slow
def test_admm_ships_a_narrower_net_that_exports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(
        "compress", "--method", "admm-pruning", "--pattern", "filter", "--keep", "25%", *FAST,
        "--model", "digits-cnn", "--epochs", "1", "--admm-epochs", "1", "--dense-epochs", "2",
        "--attack-steps", "1", "--attack", "pgd:5", "--limit", "40", "--out", str(tmp_path),
        "--json",
    )  # fmt: skip
    dense, small = json.loads(capsys.readouterr().out)["rows"]
    assert hb.load(tmp_path / "model.hbk").get_parameter("conv2.weight").shape == (16, 4, 3, 3)
    assert small["dense_bytes"] == dense["dense_bytes"] and small["bytes"] < dense["bytes"] / 8
    assert small["macs"]["dense"] < dense["macs"]["dense"] / 8
    run("export", str(tmp_path / "model.hbk"), "--format", "onnx", "--json")
    assert json.loads(capsys.readouterr().out)["bytes"] < dense["dense_bytes"] / 4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--pattern", "filter", "--keep", "1%"), "none of the 16 groups of conv1.weight"),
        (("--pattern", "diagonal"), "no pattern 'diagonal'"),
        (("--pattern", "filter", "--shrink-to-width", "1"), "was not built with a width"),
        (("--exclude", "conv7"), "The pattern 'conv7' matches no layer"),
    ],
)
def test_what_admm_cannot_do_is_refused_before_any_training(
    words: tuple[str, ...],
    sentence: str,
    shipped: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    start = ("--from", str(shipped / "model.hbk"), "--out", str(tmp_path / "out"))
    assert sentence in refused(
        capsys, "compress", "--method", "admm-pruning", *FAST, *start, *words
    )
    assert not (tmp_path / "out" / "model.hbk").exists()


@pytest.mark.slow
def test_reweighted_and_a_teacher_by_flags_alone(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = str(shipped / "rows" / "dense.hbk")
    run(
        "compress", "--method", "reweighted", "--pattern", "column", "--keep", "40%", "--rounds",
        "2", "--round-epochs", "1", "--epochs", "1", "--from", start, *FAST, "--teacher", "self",
        "--teacher-fraction", "0.7", "--attack-steps", "1", "--attack", "pgd:5", "--limit", "40",
        "--out", str(tmp_path), "--json",
    )  # fmt: skip
    dense, small = json.loads(capsys.readouterr().out)["rows"]
    assert small["bytes"] < 0.4 * dense["bytes"]
    assert 'teacher = "self"' in (tmp_path / "run.toml").read_text()


@pytest.mark.slow
def test_several_threats_by_flags_alone(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Train, compress and evaluate under a union, with its members' shares in the report."""
    union = ["--data", str(start / "few.npz"), "--threat", "linf:0.05+l2:0.4", "--attack", "pgd:3"]
    quick = [*union, "--attack-steps", "1", "--epochs", "1", "--limit", "6", "--json"]
    run(
        "train",
        *quick,
        "--model",
        "digits-cnn",
        "--threat-weights",
        "max",
        "--out",
        str(tmp_path / "d"),
    )
    row = json.loads(capsys.readouterr().out)["rows"][-1]
    assert set(row["members"]["pgd:3"]) == {"linf:0.05", "l2:0.4"}
    small = tmp_path / "small"
    run(
        "compress", *quick, "--method", "atmc", "--keep", "5%", "--codebook-epochs", "1",
        "--gamma", "0.5", "--from", str(tmp_path / "d" / "model.hbk"), "--out", str(small),
    )  # fmt: skip
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [set(row["members"]) for row in rows] == [{"pgd:3"}] * 2
    worst = min(share["accuracy"] for share in rows[1]["members"]["pgd:3"].values())
    assert rows[1]["robust"]["accuracy"] <= worst
    assert "weight_linf,weight_l2" in (small / "metrics.csv").read_text().splitlines()[0]
    assert (small / "threat-weights.png").stat().st_size > 10_000
    assert "pgd:3 in l2:0.4" in (small / "report.md").read_text()
    assert "gamma = 0.5\n" in (small / "run.toml").read_text()
    three = [*union[:2], "--threat", "linf:0.05+l2:0.4+l1:2", *union[4:]]
    run("evaluate", str(small / "model.hbk"), *three, "--no-checks")
    assert "pgd:3 in l1:2.0" in capsys.readouterr().out


def test_min_max_is_a_weighting_and_no_method(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("compress", "--method", "min-max", "--from", str(start / "dense.hbk"))
    told = refused(capsys, *words, *FAST, "--out", str(tmp_path / "out"))
    assert "give --method da and several threats" in told
    assert not (tmp_path / "out" / "model.hbk").exists()


@pytest.mark.parametrize(
    ("teacher", "sentence"),
    [("absent.hbk", "absent.hbk"), ("absent.pt", "absent.pt"), ("notes.hbk", "notes.hbk")],
)
def test_a_bad_teacher_is_refused_before_any_training(
    teacher: str,
    sentence: str,
    shipped: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "notes.hbk").write_text("a file of something else")
    start = ("--from", str(shipped / "rows" / "dense.hbk"), "--out", str(tmp_path / "out"))
    words = ("--teacher", str(tmp_path / teacher))
    assert sentence in refused(capsys, "compress", *FAST, *start, *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_size_is_met_on_disk_and_used(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(
        "compress", "--size", "4kB", *FAST, "--from", str(shipped / "model.hbk"), "--epochs", "1",
        "--codebook-epochs", "1", "--attack-steps", "1", "--most-bits", "4", "--attack", "pgd:5",
        "--limit", "40", "--out", str(tmp_path), "--json",
    )  # fmt: skip
    small = json.loads(capsys.readouterr().out)["rows"][-1]
    assert small["name"] == "SizeTarget"
    assert 0.97 * 4000 <= (tmp_path / "model.hbk").stat().st_size == small["bytes"] <= 4000


@pytest.mark.parametrize(
    ("size", "sentence"),
    [
        ("12 parsecs", "The size '12 parsecs' could not be read"),
        ("0%", "could not be read"),
        ("300B", "header, biases and norms alone take"),
    ],
)
def test_a_size_that_cannot_be_is_refused(
    size: str, sentence: str, shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ("--from", str(shipped / "model.hbk"), "--out", str(tmp_path / "out"))
    assert sentence in refused(capsys, "compress", "--size", size, *FAST, *start)
    assert not (tmp_path / "out").exists()
