"""The benchmarks' scripts: they parse, their claims and rows are their records', one runs whole."""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hauberk as hb
from benchmarks import run
from benchmarks.record import RESULTS, Header, own_command
from benchmarks.seeds import attacked, over_seeds
from benchmarks.steps import train
from benchmarks.table import Entry, Table
from hauberk.evaluation import Evaluation
from hauberk.nested import settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"
SCRIPTS = {
    ".".join(path.relative_to(FOLDER).with_suffix("").parts): path
    for path in sorted(FOLDER.rglob("*.py"))
    if "def main(" in path.read_text()
}
UNRECORDED = {"gpu_claims", "boosting_mnist", "gan_slimming_colour"}
TABLES = [
    name
    for name, path in SCRIPTS.items()
    if name not in UNRECORDED and "\nTABLE = Table(" in path.read_text()
]
RENAMED = {
    "domains": "threat_weights",
    "legs": "search_stages",
    "teacher_share": "teacher_fraction",
}
"""Settings that have another name than in the records."""
DROPPED = {"slim": False, "half": False}
"""Settings that some methods had, at the only value that they took."""
UNITS = (1, 100, 1e-6)
"""A figure of a claim is the recorded one, per cent, or in millions."""
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")


def script(name: str) -> Any:
    return importlib.import_module(f"benchmarks.{name}")


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name.replace('.', '/')}.json").read_text())
    return found


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_parses_help(name: str) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as end:
        script(name).main(["--help"])
    assert end.value.code == 0
    header = Header.of(script(name).__doc__)
    assert f"python -m benchmarks.{name}" in header.command
    assert header.command.splitlines()[0] in said.getvalue()


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_takes_a_value_from_another(name: str) -> None:
    tree = ast.parse(SCRIPTS[name].read_text())
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {f"benchmarks.{other}" for other in SCRIPTS} & imported


def test_every_record_has_a_script_that_makes_the_same_claim() -> None:
    names = {
        ".".join(path.relative_to(RESULTS).with_suffix("").parts)
        for path in RESULTS.rglob("*.json")
    }
    assert names == set(SCRIPTS) - UNRECORDED
    for name in names:
        assert recorded(name)["claim"] == Header.of(script(name).__doc__).claim, name


def figures() -> Iterator[tuple[str, dict[str, str], set[str]]]:
    """By script: its measured figures with their places, and the figures that are settings."""
    text = (Path(__file__).parent / "claims.txt").read_text()
    for block in re.split(r"^\[", text, flags=re.MULTILINE)[1:]:
        name, *lines = block.strip().splitlines()
        pairs = [line.split(maxsplit=1) for line in lines if line.strip()]
        given = {word for key, rest in pairs if key == "given" for word in rest.split()}
        yield name.rstrip("]"), {key: at for key, at in pairs if key != "given"}, given


CLAIMS = list(figures())


def value(results: Any, place: str) -> float:
    """What stands at ``a/b/c``, or the difference of two such places, or of one and 1."""
    if place == "1":
        return 1.0
    if " - " in place:
        left, right = place.split(" - ")
        return value(results, left) - value(results, right)
    for key in place.split("/"):
        if isinstance(results, list) and not key.isdecimal():
            results = {row.get("name", row.get("net")): row for row in results}[key]
        else:
            results = results[int(key) if isinstance(results, list) else key]
    return float(results)


@pytest.mark.parametrize(("name", "measured", "given"), CLAIMS, ids=[each[0] for each in CLAIMS])
def test_every_figure_of_a_claim_is_in_its_record(
    name: str, measured: dict[str, str], given: set[str]
) -> None:
    results, claim = recorded(name)["results"], Header.of(script(name).__doc__).claim
    for figure, place in measured.items():
        found, decimals = value(results, place), len(figure.partition(".")[2])
        apart = min(abs(found * unit - float(figure.replace(",", ""))) for unit in UNITS)
        assert apart <= 0.5 * 10**-decimals + 1e-9, (figure, place, found)
    assert set(NUMBER.findall(claim)) == measured.keys() | given


def test_every_claim_is_checked() -> None:
    assert {name for name, _, _ in CLAIMS} == set(SCRIPTS) - UNRECORDED


@pytest.mark.parametrize("name", TABLES)
def test_every_row_has_the_settings_of_its_record(name: str) -> None:
    table: Table = script(name).TABLE
    rows = {row["name"]: row for row in recorded(name)["results"]["rows"]}
    assert rows.keys() == {key for key, entry in table.entries.items() if entry.measured}
    for key, row in rows.items():
        entry, now = table.entries[key], settings(table.entries[key].method)
        was = {RENAMED.get(k, k): v for k, v in row.get("settings", {}).items()}
        if isinstance(entry.method, hb.ATMC) and not entry.method.paper:
            was.pop("rho", None)  # of the paper's ADMM alone, and in other units now
        for setting, value in was.items():
            same = tuple(value) if isinstance(value, list) else value
            assert now.get(setting, DROPPED.get(setting)) == same, (key, setting)
        assert row.get("seed", entry.seed) == entry.seed
        assert row.get("training_images", entry.images) == entry.images


@pytest.mark.parametrize("name", [t for t in TABLES if t not in {"atmc_mnist", "admm_mnist"}])
def test_every_summary_follows_from_its_rows(name: str) -> None:
    results = recorded(name)["results"]
    if "summary" in results:
        assert script(name).summary(results["rows"]) == results["summary"]
    elif hasattr(script(name), "summary"):
        assert script(name).summary(results["rows"]) == results["over_seeds"]
    else:
        clean = {"clean": attacked} if hasattr(script(name), "attacked") else {}
        rows = [{"train_seconds": None, **row} for row in results["rows"]]
        made = over_seeds(rows, **clean)
        assert {
            key: {k: made[key][k] for k in row} for key, row in results["over_seeds"].items()
        } == results["over_seeds"]


def test_a_record_names_no_folder_of_this_machine() -> None:
    argv = ["/usr/bin/python3", "-m", "benchmarks.x", "--data", "/home/a/mnist", "../b/cifar"]
    assert own_command(argv) == "python -m benchmarks.x --data path/to/mnist path/to/cifar"
    assert own_command(["python", "--data", "hub:ylecun/mnist"]).endswith(" hub:ylecun/mnist")
    for path in FOLDER.rglob("*"):
        if path.suffix in {".py", ".json", ".md", ".csv"}:
            assert "/shared/data" not in path.read_text(), path


THREAT = hb.Linf(0.1)
FAST = Evaluation(THREAT, "linf:0.1", {"pgd:2": hb.PGD(2)}, limit=50, check_limit=0, timing=False)


def tiny(work: Path) -> Table:
    """A dense net of one epoch, two seeds of one method, and a mean of two rows."""
    dense = Entry(hb.DA().with_(epochs=1, attack_steps=1), "digits-cnn", images=256, measured=False)
    half = Entry(hb.AP(keep=0.5).with_(epochs=0), "digits-cnn", "dense", source="dense", images=256)
    entries = {
        "dense": dense,
        **{f"half, seed {seed}": replace(half, seed=seed) for seed in (0, 1)},
        "mean": Entry(hb.DA(), "digits-cnn", mean={"dense": 0.5, "half, seed 0": 0.5}),
    }
    protocols = {"robust": FAST, "again": replace(FAST, attacks={"pgd:1": hb.PGD(1)})}
    return Table(work, THREAT, entries, protocols, watched=50)


@pytest.mark.slow
def test_a_table_runs_from_training_to_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tiny(tmp_path / "runs")
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    doc = "Claim: digits.\n\n    python -m benchmarks.digits --data digits\n\nSetting: small."

    def publish() -> None:
        run.write(table, "digits", doc, {"over_seeds": over_seeds(table.rows())})

    for _ in range(2):  # what is finished is not made again
        run.run(table, doc, publish, ["--data", "digits", "--threads", "1"])
    entry = json.loads((tmp_path / "results" / "digits.json").read_text())
    assert (entry["claim"], entry["command"]) == (
        "Claim: digits.",
        "python -m benchmarks.digits --data digits",
    )
    rows = {row["name"]: row for row in entry["results"]["rows"]}
    assert list(rows) == ["half, seed 0", "half, seed 1", "mean"]
    assert rows["half, seed 1"]["bytes"] == table.file("half, seed 1").stat().st_size
    assert rows["mean"]["again"]["n"] == rows["mean"]["robust"]["n"] == 50
    assert len(entry["results"]["over_seeds"]["half"]["bytes"]) == 2


def test_a_row_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        script("atmc_mnist").main(["--data", "digits", "--rows", "nobody"])
    assert end.value.code == 2
    assert "invalid choice: 'nobody'" in capsys.readouterr().err


def test_a_failed_training_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise hb.TrainingFailed("Stage dense diverged.")

    monkeypatch.setattr(hb, "compress", fail)
    table = tiny(tmp_path)
    (tmp_path / "dense").mkdir()
    train(table, "dense", hb.data.load("digits"))
    assert not table.file("dense").exists()
    assert [row["failed"] for row in table.rows()] == ["Stage dense diverged."]
