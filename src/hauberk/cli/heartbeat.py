"""Lines that say how far long work is, where no bar is drawn: one in any ten silent seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hauberk.printable import span

SILENCE = 10.0
"""Seconds after which a line is printed if nothing else was."""


@dataclass
class Pace:
    """How far the work is, and how fast it goes.

    Attributes:
        title: what runs.
        done: work done.
        total: work in all; 0 if that is not known.
        first: work that was done when the clock started.
        began: when that was, in seconds of a monotonic clock.
    """

    title: str = "preparing"
    done: int = 0
    total: int = 0
    first: int = 0
    began: float = field(default_factory=lambda: time.monotonic())

    def move(self, title: str, done: int, total: int) -> None:
        """Go on; other work starts the clock anew.

        Args:
            title: what runs.
            done: work done.
            total: work in all; 0 if that is not known.
        """
        if total != self.total or done < self.done:
            self.first, self.began = done, time.monotonic()
        self.title, self.done, self.total = title, done, total

    def line(self) -> str:
        """``sparse: 40%, about 50 s left``, or how long it took so far."""
        spent = time.monotonic() - self.began
        if self.done <= self.first or not self.total:
            return f"{self.title}: {span(spent)} so far"
        left = spent / (self.done - self.first) * (self.total - self.done)
        return f"{self.title}: {self.done / self.total:.0%}, about {span(left)} left"


class Silence:
    """How long nothing was printed."""

    def __init__(self) -> None:
        self.broken()

    def broken(self) -> None:
        """A line was printed."""
        self.since = time.monotonic()

    @contextmanager
    def watched(self, say: Callable[[], None]) -> Iterator[None]:
        """Print a line whenever it was silent for too long in the context.

        Args:
            say: prints the line.
        """
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(min(1.0, SILENCE / 4)):
                if time.monotonic() - self.since >= SILENCE:
                    say()

        self.broken()
        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
