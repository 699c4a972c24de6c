from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console
from tests.helpers.command import QUICK
from torch import nn

from hauberk.artifact import dense_bytes
from hauberk.attacks import FGSM, PGD
from hauberk.dataset import Examples
from hauberk.evaluation import (
    Check,
    Evaluation,
    Proportion,
    Report,
    Row,
    Shipped,
    Subject,
    Timing,
    autoattack,
    provenance,
    run_checks,
    square,
    under_attack,
)
from hauberk.plots.labels import apart
from hauberk.plots.tradeoff import Published, tradeoff
from hauberk.threats import L1, L2, Linf, Union


def row(name: str, size: int, robust: int) -> Row:
    return Row(
        file=f"runs/demo/rows/{name}.hbk",
        bytes=size,
        dense_bytes=605_224,
        threat="linf:0.1",
        attack="autoattack",
        clean=Proportion(95, 100),
        robust=Proportion(robust, 100),
        name=name,
        attacks={"autoattack": Proportion(robust, 100), "pgd:40": Proportion(robust, 449)},
        latency_ms={"batch1": Timing(0.1, 0.09, 0.2, 0.1), "batch64": Timing(1.2, 1, 2, 1.1)},
        checks=(Check("black_box", robust > 50, "Square fools 9%."), Check("transfer", None, "-")),
    )


ROWS = [row("DA", 605_224, 92), row("AP 1%", 6000, 0), row("ATMC 1%", 6001, 84)]


def test_json_has_the_keys_of_the_command() -> None:
    keys = {"file", "bytes", "dense_bytes", "ratio", "threat", "attack", "n", "clean", "robust"}
    found = json.loads(json.dumps(ROWS[2].json()))
    assert keys | {"latency_ms", "checks"} <= set(found)
    assert found["ratio"] == 6001 / 605_224 and found["n"] == 100
    assert found["checks"]["black_box"]["passed"] is True
    assert found["attacks"]["pgd:40"]["n"] == 449


def test_tables_fit_and_name_what_failed(tmp_path: Path) -> None:
    report = Report(ROWS, provenance(command="hauberk demo", seed=0, data="digits"))
    out = io.StringIO()
    Console(file=out, width=100).print(report.table())
    text = out.getvalue()
    assert "ATMC 1%" in text and "84.0 (76–90)" in text and "…" not in text
    assert max(map(len, text.splitlines())) <= 100
    first, last = report.findings()
    assert first == "AP 1%: Square fools 9%." and last.startswith("AP 1%: NOT ROBUST: 0.0%")
    report.save(tmp_path / "new")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["report.json", "report.md"]
    saved = json.loads((tmp_path / "new" / "report.json").read_text())
    assert saved["rows"][1]["name"] == "AP 1%" and saved["provenance"]["seed"] == 0
    assert "| ATMC 1% | 6,001 | 0.99% |" in (tmp_path / "new" / "report.md").read_text()


@pytest.mark.parametrize("width", [60, 72, 80, 95, 100])
def test_a_narrow_terminal_has_whole_columns(width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width).print(Report(ROWS).table(width))
    text = out.getvalue()
    assert "ATMC 1%" in text and "84.0 (76–90)" in text
    assert max(map(len, text.splitlines())) <= width
    if "checks" not in text.partition("─")[0]:
        assert "also shows" in " ".join(text.split())


@pytest.mark.slow
def test_picture(tmp_path: Path) -> None:
    paper = [Published("paper", 0.01, 0.95, 0.73), Published("paper", 0.03, 0.97, 0.77)]
    for rows in (ROWS, ROWS[:1]):
        tradeoff(rows, tmp_path / "a.png", published=paper)
        with Image.open(tmp_path / "a.png") as image:
            assert image.size == (1280, 768)
            assert len(image.convert("RGB").getcolors(1 << 20)) > 50
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    with pytest.raises(ValueError, match="No rows"):
        tradeoff([], tmp_path / "b.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        tradeoff(ROWS, tmp_path / "file" / "a.png")


def test_equal_sizes_are_set_apart_in_order() -> None:
    places = apart([1000, 100, 1001, 999, 10**6], 0.1)
    assert places[1] == pytest.approx(100) and places[4] == pytest.approx(10**6)
    assert places[0] < places[2] < places[3]
    assert places[2] / places[0] == pytest.approx(1.105, abs=1e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("short_autoattack")
def test_an_evaluation_is_whole(honest: nn.Module, examples: Examples) -> None:
    evaluation = Evaluation(
        Linf(0.05), "linf:0.05", {"pgd:5": PGD(5)}, limit=60, check_limit=20, autoattack=True,
        autoattack_limit=8, effort=QUICK,
    )  # fmt: skip
    classifier = Shipped("a.hbk", 1234, dense_bytes(honest.state_dict()), honest)
    notes: set[str] = set()
    found = evaluation(
        classifier, examples, dense=honest, source=honest, name="x",
        progress=lambda done, total, note: notes.add(note),
    )  # fmt: skip
    assert found.attack == "autoattack + checks" and found.robust.n == found.clean.n == 8
    assert found.attacks["pgd:5"].n == 60 and found.clean_split.n == len(examples)
    assert found.robust.successes <= found.clean.successes
    assert len(found.checks) == 16 and set(found.latency_ms) == {"batch1", "batch64"}
    assert found.macs.dense == found.macs.sparse > 0 and len(notes) > 3
    assert json.loads(json.dumps(found.json()))["file"] == "a.hbk"


def test_a_bare_evaluation_is_small(honest: nn.Module, examples: Examples) -> None:
    found = Evaluation(Linf(0.05), "linf:0.05", {"pgd:5": PGD(5)}, check_limit=0)(
        Shipped("a.hbk", 1234, 10, honest), examples
    )
    assert (found.attack, found.robust.n, found.clean_split) == ("pgd:5", len(examples), None)
    assert found.checks == () and found.latency_ms == {} and found.warnings == ()


def test_empty_proofs_are_refused(honest: nn.Module, examples: Examples) -> None:
    for bad in (
        lambda: Evaluation(Linf(0.1), "linf:0.1", {}),
        lambda: Evaluation(Linf(0.1), "linf:0.1", {"pgd:5": PGD(5)}, limit=0),
        lambda: Evaluation(Linf(0.1), "linf:0.1", {"pgd:5": PGD(5)}, check_limit=-1),
        lambda: Evaluation(Linf(0.1), "linf:0.1", {"pgd:5": PGD(5)})(
            Shipped("a", 1, 1, honest), examples.first(0)
        ),
    ):
        with pytest.raises(ValueError, match=r"\.$"):
            bad()


def test_a_union_is_evaluated_member_by_member(honest: nn.Module, examples: Examples) -> None:
    """The row is robust where every member is withstood; it names each member's own share."""
    union = Union((Linf(0.06), L2(0.5), L1(1.5)))
    attacks = {"pgd:5": PGD(5, random_start=False, track=True), "fgsm": FGSM(track=True)}
    evaluation = Evaluation(union, str(union), attacks, limit=80, check_limit=0)
    classifier = Shipped("a.hbk", 1234, dense_bytes(honest.state_dict()), honest)
    found = evaluation(classifier, examples, name="x")
    assert found.attack == "pgd:5" and set(found.members) == set(attacks)
    few = examples.first(80)
    masks = [under_attack(Subject.of(honest, few, m), attacks["pgd:5"]) for m in union.members]
    shares = found.members["pgd:5"]
    assert [shares[str(m)] for m in union.members] == [Proportion.of(mask) for mask in masks]
    assert found.robust == Proportion.of(masks[0] & masks[1] & masks[2])
    assert found.robust.successes < min(share.successes for share in shares.values())
    whole = under_attack(Subject.of(honest, few, union), attacks["pgd:5"])
    assert torch.equal(whole, masks[0] & masks[1] & masks[2])
    assert found.json()["members"]["pgd:5"]["l2:0.5"]["n"] == 80
    text = Report([found]).markdown()
    assert "pgd:5 in l1:1.5" in text and "linf:0.06+l2:0.5+l1:1.5" in text
    out = io.StringIO()
    Console(file=out, width=100).print(Report([found]).table())
    assert "fgsm in linf:0.06" in out.getvalue() and "…" not in out.getvalue()


@pytest.mark.slow
@pytest.mark.usefixtures("short_autoattack")
def test_autoattack_takes_a_union_s_members_one_by_one(
    honest: nn.Module, examples: Examples
) -> None:
    union = Union((Linf(0.05), L2(0.4)))
    evaluation = Evaluation(union, str(union), {}, autoattack=True, limit=6, check_limit=0)
    found = evaluation(Shipped("a.hbk", 1234, dense_bytes(honest.state_dict()), honest), examples)
    assert set(found.members["autoattack"]) == {"linf:0.05", "l2:0.4"}
    assert found.robust.successes <= min(s.successes for s in found.members["autoattack"].values())
    with pytest.raises(ValueError, match="one at a time"):
        autoattack(Subject.of(honest, examples.first(2), union))
    checks = {
        c.name: c for c in run_checks(Subject.of(honest, examples.first(20), union), effort=QUICK)
    }
    assert checks["black_box"].passed is not None and checks["large_radius"].passed


def test_square_searches_every_member(honest: nn.Module, examples: Examples) -> None:
    few, members = examples.first(30), (Linf(0.1), L2(0.8))
    each = [square(Subject.of(honest, few, m), queries=60) for m in members]
    both = square(Subject.of(honest, few, Union(members)), queries=60)
    assert torch.equal(both & each[0], both) and int(both.sum()) <= int(each[0].sum())
    assert int(both.sum()) <= int((each[0] & each[1]).sum()) + 2
    assert not torch.equal(each[0], each[0] & each[1]), "the second member finds nothing more"
