"""What a person at a terminal sees while a run goes: bars with time left, live metrics, tables.

Everything goes to stderr, so that stdout carries results alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from hauberk.solve import Watcher

stderr = Console(stderr=True, highlight=False)


class Bars(Watcher):
    """A progress bar for each stage, with the latest metrics beside it.

    Args:
        progress: where the bars are drawn.
        label: before every stage's name.
    """

    def __init__(self, progress: Progress, label: str = "") -> None:
        self.progress, self.label = progress, label
        self.task: TaskID | None = None

    def stage(self, name: str, steps: int, done: int) -> None:
        """A new bar."""
        self.close()
        title = f"{self.label} {name}".strip()
        self.task = self.progress.add_task(title, total=max(1, steps), completed=done, note="")

    def step(self, metrics: Mapping[str, float] | None) -> None:
        """One step on."""
        if self.task is not None:
            note = {"note": _line(metrics)} if metrics else {}
            self.progress.update(self.task, advance=1, **note)  # type: ignore[arg-type]

    def epoch(self, row: Mapping[str, float | int | str]) -> None:
        """Without a terminal, one line an epoch instead of a bar."""
        if not stderr.is_terminal:
            numbers = {k: v for k, v in row.items() if isinstance(v, float)}
            where = f"{self.label} {row['stage']} epoch {row['epoch']}".strip()
            stderr.print(f"{where}: {_line(numbers)}", soft_wrap=True)

    def close(self) -> None:
        """Take the bar away."""
        if self.task is not None:
            self.progress.remove_task(self.task)
            self.task = None

    def seen(self, done: int, total: int, note: str) -> None:
        """Progress of an evaluation: the same bar, for whatever runs."""
        if self.task is None:
            self.task = self.progress.add_task(self.label, total=total, note="")
        title = f"{self.label} {note}".strip()
        self.progress.update(self.task, completed=done, total=max(1, total), description=title)


@contextmanager
def bars(label: str = "") -> Iterator[Bars]:
    """Bars that vanish when they are done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
    )
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        yield Bars(bar, label)


def say(text: str) -> None:
    """One line for a person."""
    stderr.print(text, soft_wrap=True)


def _line(metrics: Mapping[str, float]) -> str:
    """``loss 0.412  clean 97.1%  robust 80.3%``."""
    shares = {"clean", "robust", "kept", "support_change", "val_clean", "val_robust"}
    return "  ".join(
        f"{name} {value:.1%}" if name in shares else f"{name} {value:.3f}"
        for name, value in metrics.items()
    )
