"""Progress on the terminal: bars with the time left, live metrics, notes.

Everything goes to stderr, so that stdout carries results alone.
"""

from __future__ import annotations

import time
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

from hauberk.cli.heartbeat import Pace, Silence
from hauberk.printable import printable, span
from hauberk.runtime.progress import heard
from hauberk.training.run import Watcher

stderr = Console(stderr=True, highlight=False, markup=False, emoji=False)
_silence = Silence()


class Bars(Watcher):
    """A progress bar for each stage, with the latest metrics next to it.

    Args:
        progress: where the bars are drawn.
        label: before every stage's name.
    """

    def __init__(self, progress: Progress, label: str = "") -> None:
        self.progress, self.label = progress, label
        self.task: TaskID | None = None
        self.pace = Pace()

    def stage(self, name: str, steps: int, done: int) -> None:
        """Start a new bar.

        Args:
            name: of the stage.
            steps: number of steps in the stage.
            done: steps made before a resumed run stopped.
        """
        self.close()
        self.pace = Pace(name, done, steps, done)
        title = printable(f"{self.label} {name}".strip())
        self.task = self.progress.add_task(title, total=max(1, steps), completed=done, note="")

    def step(self, metrics: Mapping[str, float] | None) -> None:
        """Advance by one step."""
        self.pace.done += 1
        if self.task is not None:
            note = {"note": _line(metrics)} if metrics else {}
            self.progress.update(self.task, advance=1, **note)  # type: ignore[arg-type]

    def epoch(self, row: Mapping[str, float | int | str]) -> None:
        """Without a terminal, print one line per epoch instead of a bar."""
        if not stderr.is_terminal:
            numbers = {k: v for k, v in row.items() if isinstance(v, float)}
            where = f"{self.label} {row['stage']} epoch {row['epoch']}".strip()
            say(f"{where}: {_line(numbers)}")

    def note(self, text: str) -> None:
        """Print the line."""
        say(f"{self.label} {text}".strip())

    def close(self) -> None:
        """Remove the bar."""
        if self.task is not None:
            self.progress.remove_task(self.task)
            self.task = None

    def seen(self, done: int, total: int, note: str) -> None:
        """Show the progress of an evaluation, or of a plan, in the same bar.

        Args:
            done: work done.
            total: work in all, in the same unit.
            note: what runs, in a few words.
        """
        self.pace.move(note, done, total)
        if self.task is None:
            self.task = self.progress.add_task(printable(self.label), total=total, note="")
        title = printable(f"{self.label} {note}".strip())
        self.progress.update(self.task, completed=done, total=max(1, total), description=title)

    def pulse(self) -> None:
        """Print how far it is, where no bar is drawn."""
        if not stderr.is_terminal:
            say(f"{self.label} {self.pace.line()}".strip())


class Tally:
    """Counts runs, above the bars of those under way.

    Args:
        progress: where the bars are drawn.
        total: number of runs.
        done: number of runs that were done before.
    """

    def __init__(self, progress: Progress, total: int, done: int) -> None:
        self.progress, self.total, self.before, self.done = progress, total, done, done
        self.began = time.monotonic()
        self.task = progress.add_task("", total=total, completed=done, note="")
        self._draw()

    @contextmanager
    def bars(self, label: str = "") -> Iterator[Bars]:
        """A bar below the count, removed at the end of the context."""
        below = Bars(self.progress, label)
        try:
            with _followed(below):
                yield below
        finally:
            below.close()

    def count(self, sentence: str) -> None:
        """Count one more run and print a line about it."""
        self.done += 1
        self._draw()
        say(f"[{self.done}/{self.total}] {sentence}{self._left()}")

    def _draw(self) -> None:
        title = f"{self.done} of {self.total} runs"
        note = self._left().removeprefix("; ")
        self.progress.update(self.task, completed=self.done, description=title, note=note)

    def _left(self) -> str:
        """From the mean of the runs so far: rich's estimate covers the last half minute."""
        made, left = self.done - self.before, self.total - self.done
        if not made or not left:
            return ""
        return f"; about {span((time.monotonic() - self.began) / made * left)} left"


@contextmanager
def tally(total: int, done: int) -> Iterator[Tally]:
    """A count that is removed at the end of the context."""
    with _progress() as progress:
        yield Tally(progress, total, done)


@contextmanager
def bars(label: str = "") -> Iterator[Bars]:
    """A bar that is removed at the end of the context."""
    with _progress() as progress, _followed(Bars(progress, label)) as bar:
        yield bar


@contextmanager
def _followed(bar: Bars) -> Iterator[Bars]:
    """A bar that hears of plans and exports, and speaks up when nothing is printed for long."""
    with heard(bar.seen), _silence.watched(bar.pulse):
        yield bar


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
    )
    return Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal)


def say(text: str) -> None:
    """Print one line on stderr, escaped."""
    stderr.print(printable(text), soft_wrap=True)
    _silence.broken()


def _line(metrics: Mapping[str, float]) -> str:
    """``loss 0.412  clean 97.1%  robust 80.3%``."""
    fractions = {"clean", "robust", "kept", "support_change", "val_clean", "val_robust"}
    return "  ".join(
        f"{name} {value:.1%}" if name in fractions else f"{name} {value:.3g}"
        for name, value in metrics.items()
    )
