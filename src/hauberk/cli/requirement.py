"""``--require``: conditions that a machine checks on a report, ``robust>=45%`` or ``checks``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from hauberk.cli.flags import Text, number

if TYPE_CHECKING:
    from hauberk.evaluation import Row

_ADVICE = (
    "write robust>=45%, clean>=90%, bytes<=20kB or checks, each with its own --require or apart by "
    "commas"
)
_FORM = re.compile(r"(robust|clean|bytes)\s*(>=|<=|>|<)\s*(.+)")
_COMPARE: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {
        ">=": lambda a, b: a >= b,
        "<=": lambda a, b: a <= b,
        ">": lambda a, b: a > b,
        "<": lambda a, b: a < b,
    }
)


class RequirementNotMet(Exception):
    """A report that was made, and does not meet what was required of it; one line."""


@dataclass(frozen=True)
class Requirement(Text):
    """One condition on a row: ``robust>=45%``, ``clean>=90%``, ``bytes<=20kB`` or ``checks``."""

    def __post_init__(self) -> None:
        """Validate the text."""
        self._parts()

    def fault(self, row: Row) -> str | None:
        """Why a row does not meet it, as a clause; ``None`` if it does.

        Args:
            row: of a report.
        """
        if self.text == "checks":
            failed = [check.name for check in row.checks if check.passed is False]
            if not row.checks:
                return "no check ran (checks)"
            return f"the checks {', '.join(failed)} failed" if failed else None
        name, sign, limit = self._parts()
        values = {"robust": row.robust.accuracy, "clean": row.clean_whole.accuracy}
        found = values.get(name, float(row.bytes))
        if _COMPARE[sign](found, limit):
            return None
        shown = f"{row.bytes:,}" if name == "bytes" else f"{found:.1%}"
        return f"{name} is {shown}, not {sign} {self.text.split(sign)[1].strip()}"

    def _parts(self) -> tuple[str, str, float]:
        if self.text == "checks":
            return "checks", "", 0.0
        from hauberk.ops.sizes import size_bytes

        form = _FORM.fullmatch(self.text)
        try:
            if form is None:
                raise ValueError
            plain = f"{form[3]}B" if form[3].isdecimal() else form[3]
            limit = size_bytes(plain, 0) if form[1] == "bytes" else number(form[3])
            if form[1] != "bytes" and not 0 <= limit <= 1:
                raise ValueError
        except ValueError:
            raise ValueError(f"--require was given as {self.text!r}; {_ADVICE}.") from None
        return form[1], form[2], float(limit)


def check(requirements: Iterable[Requirement], row: Row) -> None:
    """Check a row against all of them.

    Raises:
        RequirementNotMet: it does not meet one.
    """
    faults = [fault for each in requirements if (fault := each.fault(row))]
    if faults:
        raise RequirementNotMet(f"The requirements are not met: {'; '.join(faults)}.")
