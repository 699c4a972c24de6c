"""Escape text from files and users for terminals, Markdown, tables, JSON and pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.text import Text

UNPRINTED = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters, changes of writing direction, and unpaired surrogates."""
_MARKDOWN = re.compile(r"[\\`*\[\]|<&]|^_|_$|(?<=\s)_|_(?=\s)")
_FORMULA = (*"=+-@", *"\uff1d\uff0b\uff0d\uff20")
"""First letters of a formula in a spreadsheet, and their full-width forms."""
_MOST_NAME = 1024  # characters


def printable(text: object) -> str:
    r"""The text on one line; a character that could steer a terminal becomes ``\x1b``."""
    return UNPRINTED.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def cell(text: object, style: str = "") -> Text:
    """The text for rich, which takes none of it for markup; it keeps its line breaks.

    Args:
        text: what is shown.
        style: rich's name of a style.
    """
    from rich.text import Text

    return Text("\n".join(map(printable, str(text).split("\n"))), style)


def markdown(text: object) -> str:
    """The text in a line or a table cell of Markdown, without links, HTML or other markup."""
    return _MARKDOWN.sub(
        lambda found: {"<": "&lt;", "&": "&amp;"}.get(found[0], f"\\{found[0]}"), printable(text)
    )


def sheet(value: object) -> object:
    """A value for CSV; a text that a spreadsheet would compute starts with an apostrophe."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text[:1] in _FORMULA else text


def dumps(value: Any) -> bytes:
    """JSON in UTF-8, indented; what is not printable is written as ``\\u001b``."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    lines = (
        UNPRINTED.sub(lambda found: f"\\u{ord(found[0]):04x}", line) for line in text.split("\n")
    )
    return "\n".join(lines).encode() + b"\n"


def refuse_names(names: Iterable[str], of: str) -> None:
    """Check that names can be printed as they are.

    Args:
        names: of tensors.
        of: whose tensors, for the error.

    Raises:
        ValueError: one is empty, too long or holds control characters.
    """
    for name in names:
        if not 0 < len(name) <= _MOST_NAME or UNPRINTED.search(name):
            raise ValueError(
                f"{of} has a tensor called {ascii(name)[:60]}; give names of 1 to {_MOST_NAME} "
                "characters without control characters."
            )


def span(seconds: float) -> str:
    """``40 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
