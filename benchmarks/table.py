"""A table of results: its rows, how each is trained and measured, and where they are kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hauberk as hb
from hauberk.evaluation import Evaluation
from hauberk.verbs import compress


@dataclass(frozen=True)
class Entry:
    """How one row is trained.

    Attributes:
        method: with its settings.
        model: the network, where it starts from scratch.
        start: the row whose file it starts from, if any.
        seed: of everything random.
        source: the row whose adversarial examples are transferred to it, as a check.
        mean: in place of training: other rows, and the weight of each in the mean of their
            parameters (a model soup: Wortsman et al., 2022, arXiv 2203.05482).
        threat: what it is trained against, where that is not the table's own.
        images: the number of training images, the first ones; None is all.
        measured: whether it is a row of the record; other rows start from its file otherwise.
    """

    method: hb.Method
    model: str
    start: str | None = None
    seed: int = 0
    source: str | None = None
    mean: Mapping[str, float] = field(default_factory=dict)
    threat: hb.threat.Threat | None = field(default=None, repr=False)
    images: int | None = None
    measured: bool = field(default=True, repr=False)

    @property
    def identity(self) -> str:
        """What a checkpoint must have been made by to be resumed."""
        return f"{self!r} {self.threat}" if self.threat else repr(self)


@dataclass(frozen=True)
class Table:
    """The rows, and how all of them are measured.

    Attributes:
        work: the folder of the runs; a row that is finished there is not made again.
        threat: what the adversary may do.
        entries: the rows by name.
        protocols: how a file is measured; the first makes the row, each other adds its ``robust``
            to the row under its own name.
        notes: anything else to record about a finished file.
        bf16: whether rows train in bfloat16 where that is safe and the hardware has it; very small
            nets gain no speed from it.
        watched: the number of validation images that a training evaluates after each epoch; None
            is all.
    """

    work: Path
    threat: hb.threat.Threat
    entries: Mapping[str, Entry]
    protocols: Mapping[str, Evaluation]
    notes: Callable[[Path], dict[str, Any]] = lambda path: {}
    bf16: bool = True
    watched: int | None = None

    def folder(self, name: str) -> Path:
        """The row's own folder."""
        return self.work / name

    def file(self, name: str) -> Path:
        """The row's file."""
        return self.folder(name) / compress.FILE

    def finished(self, name: str) -> bool:
        """Whether the row was measured, or its training failed."""
        return self._row(name).exists()

    def keep(self, name: str, row: dict[str, Any]) -> None:
        """The row is finished."""
        self._row(name).write_text(json.dumps(row))

    def rows(self) -> list[dict[str, Any]]:
        """The finished rows, in order."""
        return [json.loads(self._row(n).read_text()) for n in self.entries if self.finished(n)]

    def _row(self, name: str) -> Path:
        return self.folder(name) / "row.json"
