"""Class names: the check that a file can store them and a terminal can print them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hauberk.printable import UNPRINTED

_MOST_LABEL = 256  # characters
_MOST_LABELS_BYTES = 1 << 18


def labels_complaint(labels: Sequence[str], classes: int) -> str | None:
    """The reason why ``labels`` cannot name ``classes`` classes; None if they can."""
    if not labels:
        return None
    if not all(isinstance(name, str) for name in labels):
        return "not all of them are text; give strings."
    if len(labels) != classes or len(set(labels)) != classes:
        different = len(set(labels))
        return (
            f"there are {different:,} different names for {classes:,} classes; give one for each."
        )
    for name in labels:
        if not 0 < len(name) <= _MOST_LABEL or UNPRINTED.search(name):
            return (
                f"one is {ascii(name)[:60]}; give 1 to {_MOST_LABEL} characters without control "
                "characters."
            )
    taken = len(json.dumps(json.dumps(list(labels), separators=(",", ":")))) - 2
    if taken > _MOST_LABELS_BYTES:
        return f"they take {taken:,} bytes; give names that take at most {_MOST_LABELS_BYTES:,}."
    return None


def numbered(classes: int) -> tuple[str, ...]:
    """The names of classes that have none: their indices."""
    return tuple(map(str, range(classes)))


def few(names: Sequence[str]) -> str:
    """The first five names and the number of others."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
