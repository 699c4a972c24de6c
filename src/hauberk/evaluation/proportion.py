"""Accuracy on n examples, with its confidence interval.

    { p : |p̂ − p| ≤ z √(p (1 − p)/n) },  z = 1.96: Wilson's 95% interval

Source: E. B. Wilson (1927), J. Am. Stat. Assoc. 22, 209 to 212.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any, TypeAlias

from jaxtyping import Bool
from torch import Tensor

Mask: TypeAlias = Bool[Tensor, " count"]
"""For each example, whether the network was right (under every attack)."""

_Z = 1.959963984540054  # the 97.5% point of the normal distribution


@dataclass(frozen=True)
class Proportion:
    """``successes`` of ``n`` independent trials."""

    successes: int
    n: int

    def __post_init__(self) -> None:
        """Validate the counts."""
        if not (self.n >= 1 and 0 <= self.successes <= self.n):
            raise ValueError(
                f"A proportion was given {self.successes} successes of {self.n} trials: "
                "give at least one trial and at most as many successes."
            )

    @staticmethod
    def of(mask: Mask) -> Proportion:
        """The fraction of ``True``."""
        return Proportion(int(mask.sum()), len(mask))

    @property
    def accuracy(self) -> float:
        """``p̂``, in [0, 1]."""
        return self.successes / self.n

    @property
    def ci95(self) -> tuple[float, float]:
        """Wilson's 95% interval, which stays inside [0, 1] and is right for p̂ near 0 and 1."""
        p, n, z2 = self.accuracy, self.n, _Z * _Z
        middle = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = _Z / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
        # at p̂ = 0 and 1 an end is p̂ itself; rounding may put it slightly inside
        return max(0.0, min(middle - half, p)), min(1.0, max(middle + half, p))

    def __str__(self) -> str:
        """``49.6% (46.5% to 52.7%)``."""
        low, high = self.ci95
        return f"{self.accuracy:.1%} ({low:.1%} to {high:.1%})"

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> Proportion:
        """The proportion that `json` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is no such object.
        """
        accuracy, n = found["accuracy"], found["n"]
        if type(n) is not int or not 0 <= accuracy <= 1:
            raise ValueError(f"A proportion was given {str(accuracy)[:40]} of {str(n)[:40]}.")
        return Proportion(round(accuracy * n), n)

    def json(self) -> dict[str, Any]:
        """``{"accuracy", "ci95": [low, high], "n"}``."""
        return {"accuracy": self.accuracy, "ci95": list(self.ci95), "n": self.n}
