"""The result of a check, and the figures that checks have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

from hauberk.evaluation.proportion import Mask


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: of the check.
        passed: ``None`` if the check could not run.
        sentence: the finding, in words; for a failed one also what it means and what to do.
        values: the figures behind it, fractions in [0, 1].
    """

    name: str
    passed: bool | None
    sentence: str
    values: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def of(
        name: str, passed: bool, finding: str, values: Mapping[str, float], advice: str
    ) -> Check:
        """A check that ran.

        Args:
            name: of the check.
            passed: its outcome.
            finding: one sentence.
            values: the figures behind it.
            advice: what a failure means and what to do; it is added to a failed check.
        """
        return Check(name, passed, finding if passed else f"{finding} {advice}", values)

    @staticmethod
    def from_json(name: str, found: Mapping[str, Any]) -> Check:
        """The check that `json` wrote.

        Raises:
            KeyError: it is no such object.
        """
        return Check(name, found["passed"], found["sentence"], found["values"])

    def json(self) -> dict[str, Any]:
        """``{"passed", "sentence", "values"}``."""
        return {"passed": self.passed, "sentence": self.sentence, "values": dict(self.values)}


def fraction(mask: Mask) -> float:
    """The fraction of ``True``; 0 of nothing."""
    return float(mask.double().mean()) if len(mask) else 0.0


def deviation(p: float, n: int) -> float:
    """One standard error, and never less than one example."""
    return max(sqrt(p * (1 - p) / n), 1 / n)
