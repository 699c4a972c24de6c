"""The figures in docs/choose.md are those of the benchmarks' own records."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def _cells(row: dict[str, Any]) -> list[str]:
    low, high = (f"{100 * end:.0f}" for end in row["robust"]["ci95"])
    pgd = row["attacks"]["pgd:100 (2 starts)"]["accuracy"]
    return [
        row["name"],
        f"{row['bytes']:,}",
        f"{100 * row['clean_split']['accuracy']:.1f}",
        f"{100 * pgd:.1f}",
        f"{100 * row['robust']['accuracy']:.1f} ({low}–{high})",
        f"{row['train_seconds']:,}",
    ]


def _rows(name: str) -> dict[str, dict[str, Any]]:
    found = json.loads((RESULTS / name).read_text())["results"]["rows"]
    return {row["name"]: row for row in found}


def _lines() -> list[list[str]]:
    text = (ROOT / "docs" / "choose.md").read_text().replace("`--size ", "size ").replace("%`", "%")
    return [line.split(" | ") for line in re.findall(r"^\| (.*) \|$", text, re.MULTILINE)]


def test_every_measured_row_is_as_it_was_measured() -> None:
    rows = _rows("atmc_mnist.json")
    shown = [cells for cells in _lines() if cells[0] in rows and len(cells) == 6]
    assert len(shown) >= 10
    for cells in shown:
        assert cells == _cells(rows[cells[0]])


def test_every_search_for_a_robustness_is_as_it_was_measured() -> None:
    tables = [_rows(f"required_robustness_{data}.json") for data in ("digits", "mnist")]
    known = {name for table in tables for name in table if name != "DA"}
    shown = [cells for cells in _lines() if cells[0] in known and len(cells) == 5]
    assert shown == [
        [
            name,
            f"{row['bytes']:,}",
            *(f"{100 * row[key]['accuracy']:.1f}" for key in ("clean", "robust")),
            f"{row['train_seconds']:,}",
        ]
        for table in tables
        for name, row in table.items()
        if name != "DA"
    ]


@pytest.mark.parametrize("file", ["byte_budget_mnist.json", "teacher_mnist.json"])
def test_every_mean_over_seeds_is_as_it_was_measured(file: str) -> None:
    found = json.loads((RESULTS / file).read_text())["results"]["over_seeds"]
    shown = [cells for cells in _lines() if cells[0] in found and len(cells) == 6]
    assert {cells[0] for cells in shown} == set(found)
    for cells in shown:
        row = found[cells[0]]
        attacks = (row["attacks"][name] for name in ("pgd:100 (2 starts)", "autoattack"))
        assert cells == [
            cells[0],
            str(len(row["bytes"])),
            _span(row["bytes"]),
            *(_spread(share) for share in (row["clean"], *attacks)),
        ]


def test_every_method_at_equal_bytes_is_as_it_was_measured() -> None:
    found = json.loads((RESULTS / "methods_mnist.json").read_text())["results"]["over_seeds"]
    shown = {cells[0]: cells[1:] for cells in _lines() if cells[0] in found and len(cells) == 7}
    assert shown.keys() == found.keys() and len(shown) >= 7
    for name, cells in shown.items():
        row = found[name]
        shares = (row["clean"], row["attacks"]["pgd:40"], row["attacks"]["autoattack"])
        sizes, seconds = _span(row["bytes"]), _span(row["train_seconds"])
        assert cells == [str(len(row["bytes"])), sizes, *map(_spread, shares), seconds]


def test_what_every_cut_destroys_is_as_it_was_measured() -> None:
    found = json.loads((RESULTS / "reweighted_mnist.json").read_text())["results"]["over_seeds"]
    moments = [f"{cut}, {when}" for cut in ("90%", "97%") for when in ("cut", "retrained")]
    ways = {name.removesuffix(" 90%, cut") for name in found if name.endswith(" 90%, cut")}
    shown = {cells[0]: cells[1:] for cells in _lines() if cells[0] in ways and len(cells) == 5}
    assert shown.keys() == ways and len(ways) == 4
    for way, cells in shown.items():
        assert cells == [_spread(found[f"{way} {moment}"]) for moment in moments]
    text = (ROOT / "docs" / "choose.md").read_text()
    assert f"three dense nets ({_spread(found['DA'])}%)" in text


def test_what_each_norm_leaves_is_as_it_was_measured() -> None:
    found = json.loads((RESULTS / "min_max_mnist.json").read_text())["results"]["over_seeds"]
    shown = {cells[0]: cells[1:] for cells in _lines() if cells[0] in found and len(cells) == 7}
    assert shown.keys() == found.keys() and len(shown) == 5
    for name, cells in shown.items():
        pgd, aa = found[name]["pgd:40"], found[name]["autoattack"]
        norms = (pgd[part] for part in ("linf:0.2", "l2:2.0", "l1:12.0"))
        shares = (found[name]["clean"], *norms, pgd["union"], aa["union"])
        assert cells == [_spread(share) for share in shares]


def test_what_a_teacher_brings_back_is_as_it_was_measured() -> None:
    found = json.loads((RESULTS / "teacher_small_mnist.json").read_text())["results"]["over_seeds"]
    shown = {cells[0]: cells[1:] for cells in _lines() if cells[0] in found and len(cells) == 5}
    assert shown.keys() == found.keys() == {"labels", "taught"}
    for name, cells in shown.items():
        row = found[name]
        assert len(row["bytes"]) == 3, "the page says three seeds"
        shares = (row["clean"], row["attacks"]["pgd:40"], row["attacks"]["autoattack"])
        assert cells == [_span(row["bytes"]), *map(_spread, shares)]


def test_every_attack_on_several_nets_is_as_it_was_measured() -> None:
    found = json.loads((RESULTS / "min_max_mnist.json").read_text())["results"]
    parts = ("linf:0.2", "l2:2.0", "l1:12.0")
    kinds = {kind: found[f"{kind} ensemble"] for kind in ("robust", "natural")}
    assert [cells for cells in _lines() if cells[0] in kinds and len(cells) == 6] == [
        [kind, loss, way, *(f"{100 * each[f'{part}, {loss}'][way]:.1f}" for part in parts)]
        for kind, each in kinds.items()
        for loss in ("cross-entropy", "margin")
        for way in each[f"{parts[0]}, {loss}"]
        if way != "ahead"
    ]


def _span(numbers: list[int]) -> str:
    return "–".join(dict.fromkeys(f"{end:,}" for end in (min(numbers), max(numbers))))


def _spread(share: dict[str, float | None]) -> str:
    mean, sd = share["mean"], share["sd"]
    assert mean is not None
    return f"{100 * mean:.1f}" if sd is None else f"{100 * mean:.1f} ± {100 * sd:.1f}"
