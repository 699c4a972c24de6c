"""Progress of long work outside of training steps: whoever works tells, whoever shows listens.

The work is far below the command, in plans and exports; `heard` connects the two for a context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

Listener: TypeAlias = Callable[[int, int, str], None]
"""Called with the work done, the work in all (0 if that is not known), and what runs."""


def _nobody(done: int, total: int, what: str) -> None:
    """Nobody listens."""


_listener: ContextVar[Listener] = ContextVar("listener", default=_nobody)


def tell(what: str, done: int = 0, total: int = 0) -> None:
    """Report how far some work is.

    Args:
        what: what runs, in a few words.
        done: work done.
        total: work in all, in the same unit; 0 if that is not known.
    """
    _listener.get()(done, total, what)


@contextmanager
def heard(listener: Listener) -> Iterator[None]:
    """Send what is told in the context to a listener."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
