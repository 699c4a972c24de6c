"""SIGINT and SIGTERM, noted and acted on when the step under way has ended."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A signal ended the run after its checkpoint was written.

    Args:
        message: what ended where, and how to go on.
        signum: the signal.
    """

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.signum = signum


@contextmanager
def noted() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM, so that the step under way ends and is saved."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def note(signum: int, frame: FrameType | None) -> None:
        caught.append(signum)

    before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def heeded() -> Iterator[None]:
    """SIGINT and SIGTERM raise `Interrupted` at once, where nothing needs to be saved first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    caught: list[int] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        caught.append(signum)
        raise Interrupted("", signum)

    before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt as error:
        if caught and not isinstance(error, Interrupted):  # Ray makes a plain one of it
            raise Interrupted("", caught[0]) from error
        raise
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
