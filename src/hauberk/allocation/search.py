"""Search: the robust accuracy that is required, its measurement, and the next size to try.

    need = target + max(0, z_c √(target (1 − target) / n) − 0.01)

The accuracy p̂ on n examples has that standard deviation around the true p; with confidence c,
p̂ ≥ need implies p ≥ target − 0.01, the tolerance within which the target is met. Examples of the
test split are never used. Departure: the search measures several nets on the same examples and
ships one that passed, which favours lucky ones slightly more than the one-sided bound states.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from math import exp, inf, log, sqrt
from statistics import NormalDist

from torch import nn

from hauberk.allocation.costs import round_half
from hauberk.attacks import PGD
from hauberk.dataset import Examples
from hauberk.evaluation import Proportion, Subject, under_attack
from hauberk.problem import Infeasible
from hauberk.threat import Threat

ALLOWED = 0.01
"""Tolerance in robust accuracy on other examples."""
_WORD = 32
"""Files grow by this many bits at a time."""


@dataclass(frozen=True)
class RobustTarget:
    """``robust ≥ fraction``, with this confidence.

    Attributes:
        fraction: of the inputs, in (0, 1).
        confidence: in [0.5, 1).
        n: held-out examples on which it is measured.

    Raises:
        ValueError: a fraction or confidence outside of its range; no examples.
    """

    fraction: float
    confidence: float
    n: int

    def __post_init__(self) -> None:
        if not 0 < self.fraction < 1:
            raise ValueError(
                f"robust_at_least was given as {self.fraction:g}; give a fraction between 0 and "
                "1, such as 90% or 0.9."
            )
        if not 0.5 <= self.confidence < 1:
            raise ValueError(
                f"confidence was given as {self.confidence:g}; give one from 0.5 to below 1."
            )
        if self.n < 1:
            raise ValueError(
                "The data have no validation examples, on which robust_at_least is measured; give "
                "data with a validation split."
            )

    @property
    def need(self) -> float:
        """The accuracy that the held-out examples must reach."""
        deviation = sqrt(self.fraction * (1 - self.fraction) / self.n)
        margin = NormalDist().inv_cdf(self.confidence) * deviation - ALLOWED
        return self.fraction + max(0.0, margin)

    def met(self, seen: Proportion) -> bool:
        """Whether they reach it."""
        return seen.accuracy >= self.need

    def refuse_above(self, dense: Proportion) -> None:
        """Raise if the dense network is not robust enough.

        Raises:
            Infeasible: naming what it reaches.
        """
        if not self.met(dense):
            raise Infeasible(
                f"robust_at_least was given as {self.fraction:.1%}, for which {self.need:.1%} of "
                f"the {self.n:,} validation examples must withstand the attack; the best reached "
                f"is the dense network's own {dense.accuracy:.1%}: give a lower fraction, or start "
                "from a more robust network."
            )


@dataclass(frozen=True)
class RobustAccuracy:
    """Measures the robust accuracy of a network as it would ship.

    Attributes:
        threat: what the adversary may do.
        examples: that are attacked.
        steps: of PGD; an example is robust if no iterate fools the network.
        half: whether values are written as float16.
    """

    threat: Threat
    examples: Examples
    steps: int
    half: bool

    def __call__(self, model: nn.Module) -> Proportion:
        """The accuracy of ``model``, which is not changed; a function of its weights."""
        shipped, place = copy.deepcopy(model), next(model.parameters()).device
        if self.half:
            round_half(shipped)
        attack = PGD(self.steps, track=True)
        subject = Subject.of(shipped, self.examples.to(place), self.threat)
        mask = under_attack(subject, attack)
        return Proportion.of(mask)


@dataclass
class SizeSearch:
    """The search for the smallest budget that meets the target, one training for each try.

    Until a try fails, the next budget is smaller by a constant factor: a network that loses much
    more in one stage ends less robust than one that reached the same size slowly. Between the
    smallest budget that met the target and the largest that did not, robustness is interpolated
    linearly in the logarithm of the bits, and the next budget is where the line reaches the
    target, within the middle half.

    Attributes:
        need: the robust accuracy that meets the target.
        bits: the next budget to try.
        met: the smallest budget that met the target.
        failed: the largest that did not.
        least: lower limit of the search.
        step: factor by which ``bits`` falls until a try fails.
    """

    need: float
    bits: float
    met: float
    failed: float = 0.0
    least: float = 0.0
    step: float = 0.7
    _met_by: float | None = field(default=None, init=False)
    _failed_by: float | None = field(default=None, init=False)

    @property
    def closed(self) -> bool:
        """Whether the two are within 2% of each other."""
        return self.met <= 1.02 * max(self.failed, self.least)

    def note(self, robust: float, used: float) -> None:
        """Record a try: the robust accuracy, and the bits that were used of the budget."""
        if robust < self.need:
            self.failed, self._failed_by = max(self.failed, self.bits), robust
        else:
            self.met, self._met_by = min(self.met, used), robust
        self.bits = max(self.least, self._between() if self.failed else self.met * self.step)

    def _between(self) -> float:
        """The interpolated budget; half way if the smallest that met the target is untrained."""
        weight, met, failed = 0.5, self._met_by, self._failed_by
        if met is not None and failed is not None:
            weight = min(max((self.need - failed) / (met - failed), 0.25), 0.75)
        return exp((1 - weight) * log(self.failed) + weight * log(self.met))


@dataclass
class TrimSearch:
    """The bytes to remove from the smallest file at a time: half as many after each failure.

    It ends when removing a single word failed, or when the rest would be below the least.

    Attributes:
        least: lower limit of the file's bits.
        fraction: of the file's bits to remove next, if that is more than a word.
    """

    least: float = 0.0
    fraction: float = 0.05
    _off: float = field(default=inf, init=False)
    _closed: bool = field(default=False, init=False)

    def limit(self, bits: float) -> float | None:
        """The next size for a file of ``bits``; None if the search has ended."""
        self._off = max(self.fraction * bits, _WORD)
        return None if self._closed or bits - self._off < self.least else bits - self._off

    def note(self, met: bool) -> None:
        """Record whether the last trim met the target."""
        if not met:
            self.fraction, self._closed = self.fraction / 2, self._off <= _WORD
