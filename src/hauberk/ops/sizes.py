"""Sizes as people write them: ``20kB``, ``1%`` (of a whole), ``0.01``, ``1.5 MiB``."""

from __future__ import annotations

import re

_UNITS = {
    "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
}  # fmt: skip


def size_bytes(text: str, whole_bytes: int) -> int:
    """The bytes that ``text`` means.

    Args:
        text: a number with a unit (B, kB, MB, GB, KiB, MiB, GiB), a percentage, or a fraction in
            (0, 1] of the whole.
        whole_bytes: bytes of the whole, for percentages and fractions.

    Raises:
        ValueError: for anything else, or nothing.
    """
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(%|[a-zA-Z]*)\s*", text)
    number, unit = (float(found[1]), found[2].lower()) if found else (0.0, "")
    if unit == "%":
        number, unit = number / 100, ""
    if unit in _UNITS and number * _UNITS[unit] >= 1:
        return int(number * _UNITS[unit])
    if not unit and 0 < number <= 1:
        return int(number * whole_bytes)
    raise ValueError(
        f"The size {text!r} could not be read; give bytes with a unit, such as 20kB or 1.5MiB, or "
        "a fraction of the dense float32 bytes, such as 1% or 0.01."
    )
