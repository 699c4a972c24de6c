"""SIGINT and SIGTERM: deferred until a step has ended, or raised at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A signal ended the run after its checkpoint was written.

    Args:
        message: where the run ended, and how to resume it.
        signum: the signal.
    """

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.signum = signum


@contextmanager
def deferred() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list, so that the current step ends and is saved."""
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
def raised() -> Iterator[None]:
    """Raise `Interrupted` at once on SIGINT and SIGTERM, while no state needs saving.

    Raises:
        Interrupted: a signal arrived inside the context.
    """
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
        if caught and not isinstance(error, Interrupted):  # Ray replaces it by a plain one
            raise Interrupted("", caught[0]) from error
        raise
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
