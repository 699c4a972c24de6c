"""A sweep as a person meets it: what runs, what is kept, what goes on, what is refused."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from tests.helpers.command import refused, run
from tests.helpers.sweeps import NAMES, sameness, table, words

from hauberk.batch import Batch
from hauberk.cli import main, pipeline, run_file
from hauberk.cli.run_spec import RunSpec
from hauberk.cli.sweep.plan import Plan
from hauberk.cli.sweep.sweep_spec import SweepSpec
from hauberk.cli.sweep.table import load as load_table
from hauberk.evaluation import Evaluation
from hauberk.training import loop

pytestmark = pytest.mark.slow


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows without the checks for gradient masking, which take most of so small a run's time."""
    monkeypatch.setattr(Evaluation, "_search", lambda *_: [])
    monkeypatch.setattr(Evaluation, "_checked", lambda *_: False)


def test_each_run_is_a_row_and_failures_stay(swept: Path) -> None:
    rows = table(swept)
    assert [row["name"] for row in rows] == NAMES
    assert [row["state"] for row in rows] == ["done", "done", "failed", "failed"]
    assert "diverged" in rows[2]["error"] and rows[2]["report"] is None
    for row in rows[:2]:
        assert row["report"]["bytes"] == (swept / row["name"] / "model.hbk").stat().st_size
        assert row["settings"]["bits"] == 3 and row["settings"]["keep"] == 0.03
        assert row["size"] == "3%" and row["seconds"] > 0
    with (swept / "sweep.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["name"] for line in lines] == NAMES
    assert float(lines[0]["robust"]) == pytest.approx(rows[0]["report"]["robust"]["accuracy"])
    assert int(lines[1]["bytes"]) == rows[1]["report"]["bytes"]
    assert lines[2]["bytes"] == "" and "diverged" in lines[2]["error"]
    assert (swept / "tradeoff.png").stat().st_size > 10_000
    assert not list(swept.glob("**/.*"))


def test_means_over_seeds(swept: Path) -> None:
    [group] = json.loads((swept / "sweep.json").read_text())["groups"]
    assert group["name"] == "atmc-3%" and group["runs"] == 2
    both = [row["report"]["bytes"] for row in table(swept)[:2]]
    assert group["bytes"]["mean"] == sum(both) / 2
    assert group["bytes"]["sd"] == pytest.approx(abs(both[0] - both[1]) / 2**0.5)


def test_the_printed_table_has_runs_means_and_failures(swept: Path) -> None:
    kept, out = load_table(swept), io.StringIO()
    Console(file=out, width=110).print(kept.table())
    lines = out.getvalue().splitlines()
    [mean] = [line for line in lines if "atmc-3%, 2 seeds" in line]
    assert mean.count("±") == 3
    assert sum(line.lstrip().startswith("dense ") for line in lines) == 1
    row = kept.rows[0].row
    assert row is not None
    [line] = [line for line in lines if NAMES[0] in line]
    low, high = row.robust.ci95
    assert f"{row.bytes:,}" in line and f"({100 * low:.1f}–{100 * high:.1f})" in line
    assert sum("failed" in line for line in lines) == 2
    assert [sentence.split()[0] for sentence in kept.failures()] == NAMES[2:]
    assert [row.name for row in kept.labelled()] == ["atmc-3%", " "]


@pytest.mark.slow
def test_a_run_is_what_compress_does(swept: Path, tmp_path: Path) -> None:
    folder = swept / NAMES[0]
    run("compress", str(folder / run_file.NAME), "--out", str(tmp_path))
    left = {path.relative_to(folder) for path in folder.rglob("*")}
    assert left == {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}
    for name in ("model.hbk", "metrics.csv", "rows/dense.hbk"):
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), name
    [ours, theirs] = (json.loads((f / "report.json").read_text()) for f in (folder, tmp_path))
    assert [row["robust"] for row in ours["rows"]] == [row["robust"] for row in theirs["rows"]]
    program, *argv = shlex.split(ours["provenance"]["command"])
    assert program == "hauberk"
    assert RunSpec.parse(argv).to_toml() == (folder / run_file.NAME).read_text()


@pytest.mark.usefixtures("unchecked")
def test_resuming_does_what_is_left_and_no_more(
    start: Path, swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sweep"
    shutil.copytree(swept, out)
    settings = ("--resume", "--json")
    stamps = {name: (out / name / "model.hbk").stat().st_mtime_ns for name in NAMES[:2]}
    shutil.rmtree(out / NAMES[1])
    run(*words(start, out, *settings, seeds="0,1,2"))
    told = json.loads(capsys.readouterr().out)
    assert [row["state"] for row in told["rows"]] == ["done"] * 3 + ["failed"] * 3
    assert (out / NAMES[0] / "model.hbk").stat().st_mtime_ns == stamps[NAMES[0]]
    assert (out / NAMES[1] / "model.hbk").stat().st_mtime_ns > stamps[NAMES[1]]
    after = {str(row["name"]): (row, file) for row, file in sameness(out)}
    for row, file in sameness(swept):
        assert after[str(row["name"])] == (row, file)
    said = refused(capsys, *words(start, out, "--resume", "--epochs", "2"))
    assert f"{NAMES[0]} was made with epochs = 1, and 2 is requested" in said


KILLED = """
import os, signal, sys
from hauberk.cli import main
from hauberk.evaluation import Evaluation
from hauberk.training import checkpoint
Evaluation._search, Evaluation._checked = lambda *_: [], lambda *_: False
save = checkpoint.save
def last(path, tree):
    save(path, tree)
    if path.name == "checkpoint.safetensors" and path.parent.name == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.save = last
main.main(sys.argv[2:])
"""


@pytest.mark.usefixtures("unchecked")
def test_a_killed_sweep_ends_as_an_undisturbed_one(
    start: Path, swept: Path, tmp_path: Path
) -> None:
    out = tmp_path / "sweep"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, NAMES[1], *words(start, out)], capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert [row["state"] for row in table(out)] == ["done", "to do", "to do", "to do"]
    assert (out / NAMES[1] / "checkpoint.safetensors").exists()
    run(*words(start, out, "--resume"))
    assert sameness(out) == sameness(swept)


@pytest.mark.usefixtures("unchecked")
def test_a_signal_ends_it_and_it_goes_on(
    start: Path, swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """SIGINT in the training, which saves first; SIGTERM in the evaluation, which need not."""
    out, step = tmp_path / "sweep", loop._Training._step

    def interrupted(training: loop._Training, batch: Batch) -> str | None:
        if batch.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return step(training, batch)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Training, "_step", interrupted)
        run(*words(start, out, seeds="0"), code=130)
    assert "SIGINT ended the sweep with 0 of 2 runs done" in capsys.readouterr().err
    assert (out / NAMES[0] / "checkpoint.safetensors").exists()
    with monkeypatch.context() as patch:
        patch.setattr(
            pipeline.Pipeline, "row", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM)
        )
        run(*words(start, out, "--resume", seeds="0"), code=143)
    assert "SIGTERM ended the sweep" in capsys.readouterr().err
    run(*words(start, out, "--resume", seeds="0"))
    known = {str(row["name"]): (row, file) for row, file in sameness(swept)}
    assert sameness(out) == [known[NAMES[0]], known[NAMES[2]]]


def test_a_sweep_of_failures_ends_with_2_and_its_table(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(*words(start, tmp_path, "--atmc.lr", "1e30", seeds="0"), code=2)
    shown, said = capsys.readouterr()
    assert shown.count("diverged") == 2 and "failed" in shown
    assert "None of the 2 runs succeeded" in said and "Traceback" not in said
    assert [row["state"] for row in table(tmp_path)] == ["failed"] * 2


def plan(*others: str) -> Plan:
    given = ["--from", "d.hbk", "--data", "digits", "--threat", "linf:0.1", *others]
    return Plan.of(SweepSpec.parse(given))


def test_sizes_are_sizes_and_shares_to_keep() -> None:
    read = plan("--methods", "size-target,atmc,alr", "--sizes", "2%,1.5%", "--seeds", "0,7")
    assert [run.name for run in read.runs] == [
        "size-target-2%-seed0", "size-target-2%-seed7", "size-target-1.5%-seed0",
        "size-target-1.5%-seed7",
        "atmc-2%-seed0", "atmc-2%-seed7", "atmc-1.5%-seed0", "atmc-1.5%-seed7",
        "alr-seed0", "alr-seed7",
    ]  # fmt: skip
    found = [run.spec.settings() for run in read.runs]
    assert found[2]["size"] == "1.5%" and found[6]["keep"] == 0.015
    assert [run.size for run in read.runs][3:5] == ["1.5%", "2%"] and not read.runs[-1].size
    assert read.runs[1].spec.seed == 7
    [note] = read.notes
    assert note.startswith("alr has neither --size nor --keep")


def test_flags_reach_those_that_have_them_and_several_values_make_runs() -> None:
    read = plan(
        "--methods", "atmc,al0", "--bits", "3,4", "--epochs", "7", "--reuse", "--exclude", "a", "b",
        "--al0.keep", "4%", "--atmc.keep", "8%,6%", "--atmc.no-half",
    )  # fmt: skip
    assert [run.name for run in read.runs] == [
        "atmc-bits3-8%-seed0", "atmc-bits3-6%-seed0", "atmc-bits4-8%-seed0", "atmc-bits4-6%-seed0",
        "al0-seed0",
    ]  # fmt: skip
    first, last = read.runs[0].spec, read.runs[-1].spec
    found = [spec.settings() for spec in (first, last)]
    assert (found[0]["bits"], found[0]["keep"], found[0]["half"]) == (3, 0.08, False)
    assert (found[1]["keep"], found[1]["half"]) == (0.04, True)
    for settings in found:
        assert settings["epochs"] == 7 and settings["reuse"] is True
        assert settings["exclude"] == ["a", "b"] and settings["from"] == "d.hbk"
    assert read.runs[0].varied == {"bits": "3"}
    assert first.out == Path("runs/sweep/atmc-bits3-8%-seed0")


def test_a_file_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        'from = "d.hbk"\ndata = "digits"\nthreat = "linf:0.1"\nmethods = ["atmc", "al0"]\n'
        'sizes = "2%"\nseeds = [0, 1]\nepochs = 3\nreuse = true\n[atmc]\nkeep = ["8%", "6%"]\n'
        "half = false\n[al0]\nepochs = 4\n"
    )
    read = Plan.of(SweepSpec.parse([str(path), "--seeds", "5"]))
    assert [run.name for run in read.runs] == [
        "atmc-8%-seed5", "atmc-6%-seed5", "al0-2%-seed5",
    ]  # fmt: skip
    found = [run.spec.settings() for run in read.runs]
    assert [s["epochs"] for s in found] == [3, 3, 4]
    assert [s["keep"] for s in found] == [0.08, 0.06, 0.02]
    assert [s["half"] for s in found] == [False, False, True] and all(s["reuse"] for s in found)
    path.write_text(read.spec.to_toml())
    again = Plan.of(SweepSpec.parse([str(path)]))
    assert again == read
    assert again.spec.to_toml() == read.spec.to_toml()


@pytest.mark.parametrize(
    ("others", "sentence"),
    [
        (["--methods", "atmc", "--bitz", "3"], "--bitz is one that none of the methods has; did"),
        (["--methods", "al0", "--bits", "3"], "none of the methods has; methods with it"),
        (["--methods", "al0", "--seed", "3"], "did you mean --seeds?"),
        (["--methods", "al0", "--method", "ap"], "did you mean --methods?"),
        (["--methods", "al0", "--atmc.bits", "3"], "is for the method 'atmc', which the sweep"),
        (["--methods", "al0", "--al0.keeep", "3%"], "does not have; did you mean --keep?"),
        (["--methods", "magic"], "There is no method 'magic'"),
        (["--methods", "al0", "--sizes", "20kB"], "only size-target can promise; al0 has"),
        (["--methods", "al0", "--sizes", "2%", "--keep", "3%"], "--sizes and --keep were both"),
        (["--methods", "al0", "--sizes", "2%,0"], "keep"),
        (["--methods", "al0", "--keep", "2%,0.020"], "would be called al0-2%-seed0"),
        (["--methods", "al0", "--epochs", "1,x"], "epochs"),
        (["--methods", "al0", "--seeds", "one"], "seeds"),
        (["--methods", "al0", "--threads", "-1"], "--threads was given as -1"),
        (["--methods", "al0", "--attack", "pgd:x"], "pgd:x"),
        (["al0"], "methods"),
        ([], "sweep was given no --methods"),
        (["--methods", "al0", "--from", "nowhere.hbk"], "nowhere.hbk"),
        (["--methods", "al0", "--from="], "neither --from nor --model"),
    ],
)  # fmt: skip
def test_what_cannot_be_swept_is_one_sentence(
    others: list[str], sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    given = ["--from", "d.hbk", "--data", "digits", "--threat", "linf:0.1", *others]
    assert sentence in refused(capsys, "sweep", *given)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_table_is_refused(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content in ("{", '{"rows": [{"name": "x"}]}', '{"rows": 3}', "[]"):
        (tmp_path / "sweep.json").write_text(content)
        assert "is not the table of a sweep" in refused(capsys, *words(start, tmp_path, "--resume"))


def test_it_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main(["sweep", "--help"])
    text = capsys.readouterr().out
    assert "--sizes" in text and "--ray" in text and "--seed " not in text
