"""The figures in docs/choose.md are those of the benchmark's own record."""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "benchmarks" / "results" / "atmc_mnist.json"


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


def test_every_measured_row_is_as_it_was_measured() -> None:
    rows = {row["name"]: row for row in json.loads(RECORD.read_text())["results"]["rows"]}
    lines = re.findall(r"^\| (.*) \|$", (ROOT / "docs" / "choose.md").read_text(), re.MULTILINE)
    shown = [cells for line in lines if (cells := line.split(" | "))[0] in rows]
    assert len(shown) >= 10
    for cells in shown:
        assert cells == _cells(rows[cells[0]])
