"""Sizes as people write them: ``20kB``, ``1%`` (of a whole), ``1.5 MiB``; counts: ``2M``."""

from __future__ import annotations

import re

_UNITS = {
    "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
}  # fmt: skip
_THOUSANDS = {"k": 10**3, "m": 10**6, "g": 10**9}


def size_bytes(text: str, whole_bytes: int) -> int:
    """The bytes that ``text`` means.

    Args:
        text: a number with a unit (B, kB, MB, GB, KiB, MiB, GiB), a percentage, or a fraction in
            (0, 1] of the whole.
        whole_bytes: bytes of the whole, for percentages and fractions.

    Raises:
        ValueError: for anything else, or nothing.
    """
    found = _amount(text, _UNITS, whole_bytes)
    if found is None:
        raise ValueError(
            f"The size {text!r} could not be read; give bytes with a unit, such as 20kB or 1.5MiB, "
            "or a fraction of the dense float32 bytes, such as 1% or 0.01."
        )
    return found


def count(text: str, whole: int) -> int:
    """The number that ``text`` means.

    Args:
        text: a number of 2 or more, perhaps with k, M or G (2M), a percentage, or a fraction in
            (0, 1] of the whole.
        whole: what percentages and fractions are of.

    Raises:
        ValueError: for anything else, or nothing.
    """
    found = _amount(text, _THOUSANDS, whole)
    if found is None:
        number = re.fullmatch(r"\s*(\d+)(\.0*)?\s*", text)
        found = int(number[1]) if number else 0
    if not found:
        raise ValueError(
            f"The count {text!r} could not be read; give a number such as 500k or 2M, or a "
            "fraction of the dense network's, such as 50%."
        )
    return found


def _amount(text: str, units: dict[str, int], whole: int) -> int | None:
    """A number of a unit, or a fraction of the whole; None for anything else."""
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(%|[a-zA-Z]*)\s*", text)
    number, unit = (float(found[1]), found[2].lower()) if found else (0.0, "")
    if unit == "%":
        number, unit = number / 100, ""
    if unit in units and number * units[unit] >= 1:
        return int(number * units[unit])
    if not unit and 0 < number <= 1:
        return int(number * whole)
    return None
