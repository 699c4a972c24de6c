"""The certified accuracy of a file: a lower bound, beside the upper bounds that attacks give.

    certified  ≤  robust accuracy  ≤  accuracy under any attack

The left side is checked against the right one, image by image: a certified image that an attack
fooled is a fault of hauberk's, and ends the evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from hauberk.bounds.certify import BOUNDS, certify
from hauberk.bounds.network import Network
from hauberk.evaluation.accuracy import Progress
from hauberk.evaluation.proportion import Mask, Proportion
from hauberk.evaluation.subject import Subject


class Contradiction(RuntimeError):
    """A certified image was fooled: the bound or the attack is wrong."""


@dataclass(frozen=True)
class Certified:
    """What a bound certified.

    Attributes:
        bound: ``interval`` or ``crown``.
        result: the examples that are classified correctly whatever the threat allows.
        by: how many each bound certified first.
        seconds: wall-clock time.
    """

    bound: str
    result: Proportion
    by: Mapping[str, int]
    seconds: float

    @classmethod
    def of(
        cls, bound: str, network: Network, subject: Subject, robust: Mask, progress: Progress
    ) -> Self:
        """Certify the examples of a subject.

        Args:
            bound: by name.
            network: the operators of the decoded network.
            subject: examples and threat.
            robust: mask of the examples that nothing fooled.
            progress: called with the examples done.

        Raises:
            ValueError: a threat with no bound.
            Contradiction: a certified example was fooled.
        """
        examples = subject.examples
        found = certify(
            network,
            examples,
            subject.threat,
            BOUNDS[bound],
            progress=lambda done, total: progress(done, total, "certify"),
        )
        wrong = found.certified & ~robust[: len(examples)].cpu()
        if wrong.any():
            raise Contradiction(
                f"Image {int(wrong.nonzero()[0])} of the split was certified by {bound} and fooled "
                "by an attack; both cannot be true. Please report it, with the file."
            )
        return cls(bound, Proportion.of(found.certified), found.by, found.seconds)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """What `json` wrote.

        Raises:
            KeyError: it is no such object.
        """
        result = Proportion.from_json(found["result"])
        return cls(found["bound"], result, dict(found["by"]), found["seconds"])

    def json(self) -> dict[str, Any]:
        """The attributes by name."""
        return {
            "bound": self.bound,
            "result": self.result.json(),
            "by": dict(self.by),
            "seconds": self.seconds,
        }

    def sentence(self) -> str:
        """The result in one line."""
        ways = ", ".join(f"{name} {count}" for name, count in self.by.items())
        return (
            f"Certified: {self.result} of {self.result.n} examples keep their class whatever the "
            f"threat allows ({ways}; {self.seconds:.0f} s)."
        )
