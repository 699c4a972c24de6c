from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from torch import nn

from hauberk.attacks import PGD
from hauberk.evaluate import (
    Check,
    Proof,
    Proportion,
    Published,
    Report,
    Row,
    Shipped,
    Timing,
    dense_bytes,
    provenance,
    tradeoff,
)
from hauberk.evaluate.layout import apart
from hauberk.threats import Linf
from hauberk.types import Examples


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
    assert report.findings() == ["AP 1%: Square fools 9%."]
    report.save(tmp_path / "new")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["report.json", "report.md"]
    saved = json.loads((tmp_path / "new" / "report.json").read_text())
    assert saved["rows"][1]["name"] == "AP 1%" and saved["provenance"]["seed"] == 0
    assert "| ATMC 1% | 6,001 | 0.99% |" in (tmp_path / "new" / "report.md").read_text()


def test_picture(tmp_path: Path) -> None:
    paper = [Published("paper", 0.01, 0.95, 0.73), Published("paper", 0.03, 0.97, 0.77)]
    for rows in (ROWS, ROWS[:1]):
        tradeoff(rows, tmp_path / "a.png", published=paper)
        with Image.open(tmp_path / "a.png") as image:
            assert image.size == (1280, 768)
            assert len(image.convert("RGB").getcolors(1 << 20)) > 50
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    with pytest.raises(ValueError, match="no rows"):
        tradeoff([], tmp_path / "b.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        tradeoff(ROWS, tmp_path / "file" / "a.png")


def test_equal_sizes_are_set_apart_in_order() -> None:
    places = apart([1000, 100, 1001, 999, 10**6], 0.1)
    assert places[1] == pytest.approx(100) and places[4] == pytest.approx(10**6)
    assert places[0] < places[2] < places[3]
    assert places[2] / places[0] == pytest.approx(1.105, abs=1e-3)


def test_a_proof_is_whole(honest: nn.Module, examples: Examples) -> None:
    proof = Proof(
        Linf(0.05), "linf:0.05", {"pgd:5": PGD(5)}, limit=60, check_limit=20, autoattack=True,
        autoattack_limit=8,
    )  # fmt: skip
    shipped = Shipped("a.hbk", 1234, honest, dense_bytes(honest))
    notes: set[str] = set()
    found = proof(
        shipped, examples, dense=honest, source=honest, name="x",
        progress=lambda done, total, note: notes.add(note),
    )  # fmt: skip
    assert found.attack == "autoattack" and found.robust.n == found.clean.n == 8
    assert found.attacks["pgd:5"].n == 60 and found.clean_split.n == len(examples)
    assert found.robust.successes <= found.clean.successes
    assert (
        len(found.checks) == 5
        and found.checks[3].passed
        and set(found.latency_ms) == {"batch1", "batch64"}
    )
    assert found.macs.dense == found.macs.sparse > 0 and len(notes) > 3
    assert json.loads(json.dumps(found.json()))["file"] == "a.hbk"


def test_a_bare_proof_is_small(honest: nn.Module, examples: Examples) -> None:
    found = Proof(Linf(0.05), "linf:0.05", {"pgd:5": PGD(5)}, check_limit=0)(
        Shipped("a.hbk", 1234, honest, 10), examples
    )
    assert (found.attack, found.robust.n, found.clean_split) == ("pgd:5", len(examples), None)
    assert found.checks == () and found.latency_ms == {} and found.warnings == ()


def test_empty_proofs_are_refused(honest: nn.Module, examples: Examples) -> None:
    for bad in (
        lambda: Proof(Linf(0.1), "linf:0.1", {}),
        lambda: Proof(Linf(0.1), "linf:0.1", {"pgd:5": PGD(5)}, limit=0),
        lambda: Proof(Linf(0.1), "linf:0.1", {"pgd:5": PGD(5)}, check_limit=-1),
        lambda: Proof(Linf(0.1), "linf:0.1", {"pgd:5": PGD(5)}, queries=0),
        lambda: Proof(Linf(0.1), "linf:0.1", {"pgd:5": PGD(5)})(
            Shipped("a", 1, honest, 1), examples.first(0)
        ),
    ):
        with pytest.raises(ValueError, match=r"\.$"):
            bad()
