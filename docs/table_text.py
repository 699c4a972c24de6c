"""How the tables of the documentation are written: reading a record, numbers, Markdown rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

Json = Mapping[str, Any]
Table = Callable[[], str]

NAMES = {
    "DA": "dense",
    "DA, first leg": "dense, first stage",
    "AP": "one-shot pruning (AP)",
    "NAP": "one-shot pruning, natural (NAP)",
    "ALR": "low rank (ALR)",
    "sized": "size target",
    "sized 0.5%": "size target 0.5%",
    "sized 0.25%": "size target 0.25%",
    "taught": "size target, distilled",
    "half taught": "size target, half distilled",
    "labels": "size target, labels only",
    "pruned for int8": "reweighted, before int8",
    "dense, second sitting": "dense, second training",
    "8 to 4, first leg": "8 to 4, first stage",
}
"""What a reader calls the rows that a record names otherwise."""


def results(name: str) -> Any:
    """The measurements in a committed record, ``atmc_mnist`` or ``speed/step``."""
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())["results"]


def finished(name: str) -> dict[str, Any]:
    """The rows of a record that were trained to the end, by name."""
    return {row["name"]: row for row in results(name)["rows"] if "failed" not in row}


def title(name: str) -> str:
    """A row's name for the reader."""
    return NAMES.get(name, name)


def percent(fraction: float, digits: int = 1) -> str:
    """``0.878`` as ``87.8``."""
    return f"{100 * fraction:.{digits}f}"


def interval(proportion: Json) -> str:
    """A proportion in percent with its 95% interval: ``87.8 (84.6–90.4)``."""
    low, high = proportion["ci95"]
    return f"{percent(proportion['accuracy'])} ({percent(low)}–{percent(high)})"


def spread(fraction: Json) -> str:
    """Mean and standard deviation over seeds in percent; one seed has no deviation."""
    mean, sd = percent(fraction["mean"]), fraction["sd"]
    return mean if sd is None else f"{mean} ± {percent(sd)}"


def span(numbers: Sequence[int]) -> str:
    """Smallest to largest, or the one number that all are."""
    return "–".join(dict.fromkeys(f"{end:,}" for end in (min(numbers), max(numbers))))


def number(value: float) -> str:
    """Three significant digits, thousands separated: ``2,120``, ``3.13``, ``0.60``."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """A Markdown table; the first ``words`` columns are text, the others right-aligned numbers."""
    rule = ["---"] * words + ["---:"] * (len(head) - words)
    lines = [head, rule, *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
