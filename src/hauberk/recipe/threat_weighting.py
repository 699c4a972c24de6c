"""Threat weighting: how several threats count in one loss."""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.nested import settings
from hauberk.objectives import (
    AVERAGE,
    WORST,
    Audit,
    PerExampleWeights,
    SharedWeights,
    Weighting,
)
from hauberk.threat import Threat


@dataclass(frozen=True, kw_only=True)
class ThreatWeighting:
    """The weights of several threats in one loss (``--threat linf:0.2+l2:2``).

    Attributes:
        threat_weights: min-max moves weight to the worst threat, average weights all equally, max
            counts only the worst threat of each example.
        gamma: pull of min-max towards equal weights, 0 or more.
        weight_rate: step size with which min-max's weights follow the losses.
        audit: steps between two longer searches, whose gap to the training attack is added to the
            losses that min-max follows; 0 is never.
        per_sample: min-max has weights for each example, in place of one vector for all.

    Raises:
        ValueError: a setting outside its range.
    """

    threat_weights: str = "min-max"
    gamma: float = 0.2
    weight_rate: float = 0.02
    audit: int = 16
    per_sample: bool = False

    def __post_init__(self) -> None:
        self._audit()
        self.strategy()

    def strategy(self) -> Weighting:
        """The rule that weighs the threats' losses.

        Raises:
            ValueError: a strategy that does not exist.
        """
        strategies: dict[str, Weighting] = {
            "min-max": SharedWeights(self.weight_rate, self.gamma),
            "average": AVERAGE,
            "max": WORST,
        }
        if self.threat_weights not in strategies:
            raise ValueError(
                f"threat_weights was given as {self.threat_weights!r}; give one of "
                f"{', '.join(strategies)}."
            )
        if self.per_sample and self.threat_weights == "min-max":
            return PerExampleWeights(self.gamma)
        return strategies[self.threat_weights]

    def of(self, threat: Threat) -> tuple[Weighting, Audit]:
        """The weighting of the parts of this threat, and their audit.

        Raises:
            ValueError: naming a setting that a single threat would ignore.
        """
        if len(threat.parts()) == 1:
            self._refuse_settings()
        return self.strategy(), self._audit()

    def _audit(self) -> Audit:
        return Audit(self.audit)

    def _refuse_settings(self) -> None:
        defaults = settings(ThreatWeighting())
        for name, value in settings(self).items():
            if value != defaults[name]:
                raise ValueError(
                    f"{name} was given as {value}, which is about several threats, and there is "
                    "one; leave it out, or give several, such as linf:0.1+l2:1."
                )
