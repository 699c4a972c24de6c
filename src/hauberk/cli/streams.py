"""Standard streams that take every text: other encodings, closed ones, narrow terminals."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Sequence

_NARROWEST = 20  # columns; narrower tables have no words
_PLAIN = {
    "–": "-", "−": "-", "—": "-", "×": "x", "±": "+-", "…": "...", "≤": "<=", "≥": ">=",
    "ℓ": "l", "∞": "inf", "’": "'", "ε": "eps", "→": "->", "·": "*", "•": "*", "█": "#",
    "━": "-", "╸": "-", "╺": "-", "─": "-",
}  # fmt: skip
_HANDLER = "hauberk.plain"


def prepare() -> None:
    """Open closed streams on nothing, and let the others replace what they cannot encode."""
    while (handle := os.open(os.devnull, os.O_RDWR)) < 3:
        pass  # a file opened later must not become standard output
    os.close(handle)
    codecs.register_error(_HANDLER, _plain)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _Nowhere())
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def refuse_closed(verb: str) -> None:
    """Check, before the work, that a result can be printed.

    Raises:
        ValueError: standard output was closed when the process started.
    """
    if isinstance(sys.stdout, _Nowhere):
        raise ValueError(
            f"Standard output is closed, and {verb} prints its result there; open it, for "
            "instance with > result.txt."
        )


def refuse_bytes(words: Sequence[str]) -> None:
    """Check that reports and settings files can hold every word of the command.

    Raises:
        ValueError: one is not text in the encoding of the system.
    """
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"The argument {word!a} is not valid UTF-8; give a name that is."
            ) from error


def drop_output() -> None:
    """Print nothing more: standard output failed, and Python would fail again as it ends."""
    sys.stdout = _Nowhere()


def columns(otherwise: int) -> int:
    """The columns of the terminal; another number where stdout is none."""
    if not sys.stdout.isatty():
        return otherwise
    try:
        return max(_NARROWEST, os.get_terminal_size(sys.stdout.fileno()).columns)
    except OSError:
        return otherwise


class _Nowhere(io.StringIO):
    """A stream that keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """A text in ASCII for what an encoding lacks."""
    assert isinstance(error, UnicodeEncodeError)
    part = error.object[error.start : error.end]
    plain = (_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in part)
    return "".join(plain), error.end
