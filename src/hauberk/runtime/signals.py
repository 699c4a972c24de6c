"""SIGINT, SIGTERM and SIGHUP: deferred until a step has ended, or raised at once."""

from __future__ import annotations

import os
import signal
import stat
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
    """Collect signals in a list, so that the current step ends and is saved."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def note(signum: int, frame: FrameType | None) -> None:
        _leave_terminal()
        caught.append(signum)

    before = {s: signal.signal(s, note) for s in _heard()}
    try:
        yield caught
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def raised() -> Iterator[None]:
    """Raise `Interrupted` at once on a signal, while no state needs saving.

    Raises:
        Interrupted: a signal arrived inside the context.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    caught: list[int] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        _leave_terminal()
        caught.append(signum)
        raise Interrupted("", signum)

    before = {s: signal.signal(s, stop) for s in _heard()}
    try:
        yield
    except KeyboardInterrupt as error:
        if caught and not isinstance(error, Interrupted):  # Ray replaces it by a plain one
            raise Interrupted("", caught[0]) from error
        raise
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _heard() -> list[signal.Signals]:
    """The signals that end a run; a run under ``nohup`` outlives its terminal."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if ignored else [signal.SIGHUP])]


def _leave_terminal() -> None:
    """Send the output nowhere if its terminal was closed: writing would fail before the save."""
    for handle in (1, 2):
        try:
            closed = stat.S_ISCHR(os.fstat(handle).st_mode) and not os.isatty(handle)
        except OSError:  # the stream itself is closed
            continue
        if closed:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, handle)
            os.close(null)
