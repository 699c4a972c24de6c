"""The table of a sweep: one row for each run, in ``sweep.csv`` and ``sweep.json``."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hauberk.evaluation import Proportion, Row, spread
from hauberk.printable import cell, dumps, sheet
from hauberk.runtime import files, schema
from hauberk.runtime.files import write

if TYPE_CHECKING:
    from rich.table import Table as Shown

_LARGEST = 1 << 28  # bytes of a table
CSV, JSON = "sweep.csv", "sweep.json"
State = Literal["to do", "done", "failed", "lost"]
"""A run is lost if its worker died; it may be repeated."""


@dataclass(frozen=True)
class Outcome:
    """One run and its outcome.

    Attributes:
        name: of its folder.
        group: the same without the seed.
        method: as the user writes it.
        size: as it was given to the method, if the method takes one.
        seed: random seed of every shuffle and random start.
        varied: the other flags that tell it from the runs next to it.
        settings: all of the run's.
        inputs: digests of data, start weights, network code and teacher.
        state: how far it got.
        seconds: since it was last started, its evaluation included.
        error: why it failed.
        report: on the file that ships, as ``evaluate --json`` prints it.
        dense: the same for the net that it started from.
    """

    name: str
    group: str
    method: str
    size: str
    seed: int
    varied: Mapping[str, str]
    settings: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    state: State = "to do"
    seconds: float = 0.0
    error: str = ""
    report: Mapping[str, Any] | None = None
    dense: Mapping[str, Any] | None = None

    @property
    def over(self) -> bool:
        """Whether it is finished: a resumed sweep does not repeat it."""
        return self.state in ("done", "failed")

    @property
    def row(self) -> Row | None:
        """The measurements, under the name of the run."""
        return Row.from_json(self.report, self.name) if self.report else None

    def line(self) -> str:
        """One line about it."""
        row = self.row
        if row is None:
            return f"{self.name} failed: {self.error}"
        clean = row.clean_whole
        return (
            f"{self.name}: {row.bytes:,} bytes, {clean.accuracy:.1%} clean, "
            f"{row.robust.accuracy:.1%} robust, {self.seconds:.0f} s"
        )

    def flat(self) -> dict[str, Any]:
        """A row of the CSV, by column."""
        named = {"name": self.name, "method": self.method, "size": self.size, "seed": self.seed}
        measured = _flat(self.row) if self.row else {}
        state = {"seconds": round(self.seconds, 1), "error": self.error}
        return {**named, **self.varied, "state": self.state, **measured, **state}


@dataclass(frozen=True)
class Outcomes:
    """The one table of a sweep, in the order of its runs."""

    rows: tuple[Outcome, ...]
    command: str = ""

    def put(self, new: Outcome) -> Outcomes:
        """The table with one row replaced."""
        rows = tuple(new if new.name == row.name else row for row in self.rows)
        return Outcomes(rows, self.command)

    @property
    def done(self) -> list[Row]:
        """The measurements of the runs that succeeded."""
        return [row for outcome in self.rows if (row := outcome.row)]

    @property
    def over(self) -> int:
        """The number of finished runs."""
        return sum(row.over for row in self.rows)

    def start(self) -> list[Row]:
        """The net that runs started from, if it was the same for all that succeeded."""
        seen = [Row.from_json(o.dense, "dense") for o in self.rows if o.dense]
        return seen[:1] if len({(row.bytes, row.clean) for row in seen}) == 1 else []

    def labelled(self) -> list[Row]:
        """The measurements for a picture: each group of runs has its name once."""
        groups = itertools.groupby((o for o in self.rows if o.row), lambda row: row.group)
        return [
            replace(row, name=" " if place else group)
            for group, members in groups
            for place, member in enumerate(members)
            if (row := member.row)
        ]

    def json(self) -> dict[str, Any]:
        """``{"command": …, "rows": [...], "groups": [...]}``."""
        rows = [asdict(row) for row in self.rows]
        return {"command": self.command, "rows": rows, "groups": list(self.groups())}

    def groups(self) -> Iterator[dict[str, Any]]:
        """Mean and standard deviation over the seeds, if two or more succeeded."""
        for name, members in itertools.groupby(self.rows, lambda row: row.group):
            group = [o for o in members if o.row]
            rows = [row for o in group if (row := o.row)]
            if len(rows) < 2:
                continue
            yield {
                "name": name,
                "runs": len(rows),
                "bytes": spread([row.bytes for row in rows]),
                "clean": spread([row.clean_whole.accuracy for row in rows]),
                "robust": spread([row.robust.accuracy for row in rows]),
                "seconds": spread([o.seconds for o in group]),
            }

    def save(self, folder: Path) -> None:
        """Write ``sweep.csv`` and ``sweep.json``, each by rename.

        Raises:
            OSError: the folder cannot be written.
        """
        write(folder / JSON, dumps(self.json()))
        lines = [row.flat() for row in self.rows]
        columns = list(dict.fromkeys(name for line in lines for name in line))
        columns.sort(key=lambda name: name == "error")  # text comes last
        out = io.StringIO()
        table = csv.writer(out, lineterminator="\n")
        table.writerow(map(sheet, columns))
        table.writerows([sheet(line.get(name, "")) for name in columns] for line in lines)
        write(folder / CSV, out.getvalue().encode())

    def table(self) -> Shown:
        """For a terminal, to be printed by rich: each run, and below its seeds their mean."""
        from rich import box
        from rich.table import Table

        means = {group["name"]: group for group in self.groups()}
        shown = Table(
            box=box.SIMPLE_HEAD, pad_edge=False, caption=cell(self._about(), "table.caption")
        )
        for head in ("", "bytes", "of dense", "clean", "robust", "seconds"):
            shown.add_column(head, justify="right" if head else "left", no_wrap=bool(head))
        for start in self.start():
            shown.add_row(*map(cell, _cells(start)), "", style="dim")
        for name, group in itertools.groupby(self.rows, lambda row: row.group):
            for outcome in group:
                shown.add_row(*map(cell, _line(outcome)))
            if name in means:
                shown.add_row(*map(cell, _mean(means[name])), style="bold", end_section=True)
        return shown

    def failures(self) -> list[str]:
        """One line for each run that failed."""
        return [row.line() for row in self.rows if row.state in ("failed", "lost")]

    def _about(self) -> str:
        rows = self.done
        if not rows:
            return "no run succeeded."
        attacks, threats = {row.attack for row in rows}, {row.threat for row in rows}
        n = max(row.robust.n for row in rows)
        return (
            f"under {' and '.join(sorted(attacks))}, {' and '.join(sorted(threats))}, on {n:,} "
            "examples; Wilson 95% intervals; over seeds, mean ± standard deviation."
        )


def load(folder: Path) -> Outcomes:
    """The table of an earlier sweep; an empty one if there is none.

    Raises:
        ValueError: the file is damaged or is not a table.
        OSError: it cannot be read.
    """
    path = folder / JSON
    if not os.path.lexists(path):
        return Outcomes(())
    content = files.read(path, "a sweep.json", _LARGEST)
    try:
        rows = tuple(_outcome(row) for row in json.loads(content)["rows"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is not the table of a sweep; delete it, or run without --resume to start anew."
        ) from error
    return Outcomes(rows)


def _outcome(found: Mapping[str, Any]) -> Outcome:
    known = {f.name for f in fields(Outcome)}
    outcome = Outcome(**{key: value for key, value in found.items() if key in known})
    schema.conforms(outcome, Outcome, "a row")
    if (outcome.row is None) == (outcome.state == "done"):
        raise ValueError
    for row in (outcome.row, outcome.dense and Row.from_json(outcome.dense)):
        if row:
            schema.conforms(row, Row, "a report")
            if min(row.bytes, row.dense_bytes) < 1:
                raise ValueError
    return outcome


def _flat(row: Row) -> dict[str, Any]:
    clean = row.clean_whole
    return {
        "bytes": row.bytes,
        "of_dense": round(row.ratio, 6),
        **_ends("clean", clean),
        **_ends("robust", row.robust),
        "examples": row.robust.n,
        "threat": row.threat,
        "attack": row.attack,
    }


def _ends(name: str, found: Proportion) -> dict[str, float]:
    low, high = found.ci95
    ends = {name: found.accuracy, f"{name}_low": low, f"{name}_high": high}
    return {key: round(value, 6) for key, value in ends.items()}


def _cells(row: Row) -> tuple[str, ...]:
    name, size, ratio, clean = row.cells()[:4]
    low, high = (f"{100 * end:.1f}" for end in row.robust.ci95)
    return name, size, ratio, clean, f"{100 * row.robust.accuracy:.1f} ({low}–{high})"


def _line(outcome: Outcome) -> tuple[str, ...]:
    seconds = f"{outcome.seconds:.0f}" if outcome.seconds else ""
    if outcome.row is None:
        return outcome.name, "", "", "", outcome.state, seconds
    return (*_cells(outcome.row), seconds)


def _mean(group: Mapping[str, Any]) -> tuple[str, ...]:
    def both(name: str, scale: float, digits: int) -> str:
        found = group[name]
        return f"{scale * found['mean']:,.{digits}f} ± {scale * found['sd']:,.{digits}f}"

    name = f"{group['name']}, {group['runs']} seeds"
    return name, both("bytes", 1, 0), "", both("clean", 100, 1), both("robust", 100, 1), ""
