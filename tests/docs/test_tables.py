"""What is generated in README.md and docs/ is what the records and the source give."""

import re
import struct
from pathlib import Path

import pytest

import pictures
import tables
from table_text import ROOT, finished, interval, number, percent, results, span, spread

PAGES = [page for page in tables.pages() if tables.shown(page.read_text(encoding="utf-8"))]
RESULTS = sorted((ROOT / "docs" / "results").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_table_and_listing_is_as_its_source_gives_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == tables.filled(text), "run: python docs/tables.py"


def test_everything_generated_is_shown_once() -> None:
    shown = [name for page in PAGES for name in tables.shown(page.read_text(encoding="utf-8"))]
    assert sorted(shown) == sorted(tables.BLOCKS)


@pytest.mark.parametrize("page", RESULTS, ids=lambda page: page.stem)
def test_no_result_stands_in_the_prose_alone(page: Path) -> None:
    """A percentage with a decimal, or a number of bytes, is one of the page's tables'."""
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"<!-- generated.*?<!-- /generated -->", "", text, flags=re.DOTALL)
    shown = " ".join(table for name in tables.shown(text) for table in [tables.BLOCKS[name]()])
    for figure in re.findall(r"(?<!\w)\d[\d,]*(?= bytes\b)|\d+\.\d+(?=%)", prose):
        assert figure in shown, f"{figure} is in no table of {page.name}"


def test_the_readme_quotes_its_record() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows, found = finished("methods_mnist"), results("methods_mnist")["over_seeds"]
    second = rows[rows["AL0, seed 0"]["start"]]["attacks"]["autoattack"]
    assert f"a second dense network ({percent(second['accuracy'])}%)" in text
    assert f"has {spread(found['sized']['attacks']['autoattack'])}% under AutoAttack" in text
    assert rows["ATMC, seed 0"]["attacks"]["autoattack"]["n"] == 500
    assert rows["ATMC, seed 0"]["clean_split"]["n"] == 10_000
    assert rows["ATMC, seed 0"]["epochs"] == rows["sized, seed 0"]["epochs"] == 16
    assert len(text.splitlines()) <= 90


def test_figures_are_written_as_people_read_them() -> None:
    half = {"accuracy": 0.5, "ci95": [0.4561, 0.5439]}
    assert interval(half) == "50.0 (45.6–54.4)"
    assert spread({"mean": 0.8773, "sd": 0.0136}) == "87.7 ± 1.4"
    assert spread({"mean": 0.86, "sd": None}) == "86.0"
    assert span([4139, 4135, 4139]) == "4,135–4,139" and span([1047, 1047]) == "1,047"
    assert [number(value) for value in (2120.0, 30.6, 0.598)] == ["2,120", "30.6", "0.60"]


def test_the_picture_is_drawn_from_its_record() -> None:
    drawn = pictures.tradeoff(finished("methods_mnist"))
    kept = (ROOT / "docs" / "assets" / "tradeoff.png").read_bytes()
    assert len(kept) < 256_000
    assert _size(drawn) == _size(kept), "run: python docs/pictures.py"


def _size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels."""
    assert png.startswith(b"\x89PNG")
    return struct.unpack(">II", png[16:24])
