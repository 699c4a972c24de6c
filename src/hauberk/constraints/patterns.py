"""Pruning patterns by name: ``filter``, ``2:4``, ``block:4x4``."""

from __future__ import annotations

import re

from hauberk.ops.groups import Block, Channel, Column, Filter, Grouping, NofM, Weight

_PLAIN: dict[str, Grouping] = {
    "irregular": Weight(),
    "filter": Filter(),
    "column": Column(),
    "channel": Channel(),
}


def pattern(text: str) -> Grouping:
    """The groups of weights that are pruned together.

    Args:
        text: ``irregular``, ``filter``, ``column``, ``channel``, ``block:ROWSxCOLUMNS`` or ``N:M``
            (at most N of M weights in a row).

    Raises:
        ValueError: for any other name.
    """
    if text in _PLAIN:
        return _PLAIN[text]
    numbers = re.fullmatch(r"(block:)?([1-9]\d*)([x:])([1-9]\d*)", text)
    if numbers and bool(numbers[1]) == (numbers[3] == "x"):
        a, b = int(numbers[2]), int(numbers[4])
        return Block(a, b) if numbers[1] else NofM(a, b)
    raise ValueError(
        f"There is no pattern {text!r}; the patterns are {', '.join(_PLAIN)}, a block such as "
        "block:4x4, and n of m such as 2:4."
    )
