"""Notes: one line about how a user's input was read; a Python warning of its own category."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from hauberk.printable import printable


class Note(UserWarning):
    """How an input was understood, such as weights whose names carried a prefix."""


def note(text: str) -> None:
    """Report ``text``, one line that ends with a full stop."""
    warnings.warn(text, Note, stacklevel=3)


@contextmanager
def printed(quiet: bool = False) -> Iterator[None]:
    """Print the notes of the context as lines on stderr, or none of them if ``quiet``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if quiet else "always", Note)
        others = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, Note):
                print(f"hauberk: {printable(message)}", file=sys.stderr)
            else:
                others(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield
