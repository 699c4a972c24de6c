"""What the reports share: rows, provenance, and how both are written and printed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Literal,
    Protocol,
    TypeVar,
    runtime_checkable,
)

from hauberk.printable import cell, dumps, markdown
from hauberk.runtime.files import write

if TYPE_CHECKING:
    from rich.table import Table

_NAME, _GAP, _EDGES = 24, 3, 2
"""Characters of a terminal's table: a name before it is wrapped, between columns, at both ends."""
_NO_FILE = "It is in no file; its bytes are those of its float32 state dict."


@runtime_checkable  # for checkers of annotations
class AnyRow(Protocol):
    """The measurements of one network, as a report prints them."""

    @property
    def file(self) -> str:
        """The path, or the name of a module that is in no file."""

    @property
    def name(self) -> str | None:
        """The name of the row."""

    @property
    def in_file(self) -> bool:
        """Whether the bytes are those of a file."""

    def json(self) -> dict[str, Any]:
        """The object that a report stores."""

    def cells(self, brief: bool = False) -> tuple[str, ...]:
        """One table line; ``brief`` for a terminal."""

    def remarks(self) -> list[str]:
        """Sentences that limit the figures."""


Row = TypeVar("Row", bound=AnyRow)


@dataclass(frozen=True)
class RowReport(ABC, Generic[Row]):
    """Rows that belong together, and their provenance."""

    rows: Sequence[Row]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    heads: ClassVar[Sequence[str]]
    """Heads of the columns, in the order of a row's cells."""
    left: ClassVar[Sequence[str]]
    """Heads of the columns of text."""
    note: ClassVar[str]
    """How to read the figures: a clause with its semicolon."""

    @abstractmethod
    def caption(self) -> str:
        """What was measured on how many examples, as a sentence."""

    def json(self) -> dict[str, Any]:
        """``{"rows": [...], "provenance": {...}}``."""
        return {"rows": [row.json() for row in self.rows], "provenance": dict(self.provenance)}

    def markdown(self) -> str:
        """The table, the findings and the provenance, as Markdown."""
        rule = ["---" if head in self.left else "---:" for head in self.heads]
        lines = [_line(self.heads), _line(rule)]
        lines += [_line(map(_marked, row.cells())) for row in self.rows]
        lines += ["", f"{self.note} {markdown(self.caption())}", ""]
        lines += [f"- {markdown(finding)}" for finding in self.findings()]
        lines += [
            "",
            *(f"- {markdown(key)}: {markdown(value)}" for key, value in self.provenance.items()),
        ]
        return "\n".join(lines).rstrip() + "\n"

    def table(self, width: int = 100) -> Table:
        """The same for a terminal, to be printed by rich; last columns are left out if too wide.

        Args:
            width: columns of the terminal.
        """
        from rich import box
        from rich.table import Table

        rows = [row.cells(brief=True) for row in self.rows]
        count = _fitting([self.heads, *rows], width)
        hidden = ", ".join(self.heads[count:])
        more = f" A wider terminal also shows: {hidden}." if hidden else ""
        table = Table(
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            caption=cell(self.caption() + more, "table.caption"),
        )
        for head in self.heads[:count]:
            justify: Literal["left", "right"] = "left" if head in self.left else "right"
            table.add_column(head, justify=justify, no_wrap=head != "", overflow="fold")
        for cells in rows:
            table.add_row(*map(cell, cells[:count]))
        return table

    def findings(self) -> list[str]:
        """One line for each row that is in no file, and for each of its remarks."""
        return [
            f"{row.name or row.file}: {sentence}"
            for row in self.rows
            for sentence in (*(() if row.in_file else (_NO_FILE,)), *row.remarks())
        ]

    def save(self, folder: Path) -> None:
        """Write ``report.json`` and ``report.md``, each by rename.

        Raises:
            OSError: the folder cannot be written.
        """
        write(folder / "report.json", dumps(self.json()))
        write(folder / "report.md", self.markdown().encode())


def _fitting(rows: Sequence[Sequence[str]], width: int) -> int:
    """How many of the first columns of a table fit; a long name in the first one is wrapped."""
    lines = [[cell.split("\n") for cell in column] for column in zip(*rows, strict=True)]
    widths = [max(len(line) for cell in column for line in cell) for column in lines]
    ends = accumulate([min(widths[0], _NAME), *(_GAP + needed for needed in widths[1:])])
    return max(1, sum(end + _EDGES <= width for end in ends))


def _marked(text: str) -> str:
    """A cell of Markdown from one whose lines are ours."""
    return "<br>".join(map(markdown, text.split("\n")))


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
