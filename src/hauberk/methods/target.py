"""A robust accuracy that is asked for, and what so many held-out examples must show for it.

    need = target + max(0, z_c √(target (1 − target) / n) − 0.01)

A share p̂ of n examples scatters about the true p with that root; with confidence c, p̂ ≥ need says
p ≥ target − 0.01, the point within which the target is to be met. Examples of the test split are
never looked at. Departure: the search asks about several nets and ships one of those that passed,
on the same examples; that favours lucky ones a little more than the one-sided bound says.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from math import exp, log, sqrt
from statistics import NormalDist

from torch import nn

from hauberk.attacks import PGD
from hauberk.evaluate import Proportion, under_attack
from hauberk.methods.prices import round_half
from hauberk.problem import Infeasible
from hauberk.threat import Threat
from hauberk.types import Examples

ALLOWED = 0.01
"""Robust accuracy that may be missing on other examples."""
_NEAR, _FALL, _FAR = log(1.25), log(2), log(2.5)
"""The least, the first and the longest way down from a budget that met the target."""


@dataclass(frozen=True)
class RobustTarget:
    """``robust ≥ share``, with this confidence.

    Attributes:
        share: of the inputs, in (0, 1).
        confidence: in [0.5, 1).
        n: held-out examples on which it is measured.

    Raises:
        ValueError: a share or confidence outside of its range; no examples.
    """

    share: float
    confidence: float
    n: int

    def __post_init__(self) -> None:
        """Refuse targets that mean nothing."""
        if not 0 < self.share < 1:
            raise ValueError(
                f"robust_at_least was given as {self.share:g}; give a share between 0 and 1, such "
                "as 90% or 0.9."
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
        """What the held-out examples must show."""
        deviation = sqrt(self.share * (1 - self.share) / self.n)
        margin = NormalDist().inv_cdf(self.confidence) * deviation - ALLOWED
        return self.share + max(0.0, margin)

    def met(self, seen: Proportion) -> bool:
        """Whether they show it."""
        return seen.accuracy >= self.need

    def refuse_above(self, dense: Proportion) -> None:
        """Raise where the network before any compression is not robust enough.

        Raises:
            Infeasible: naming what it reaches.
        """
        if not self.met(dense):
            raise Infeasible(
                f"robust_at_least was given as {self.share:.1%}, for which {self.need:.1%} of the "
                f"{self.n:,} validation examples must withstand the attack; the best reached is "
                f"the dense network's own {dense.accuracy:.1%}: give a lower share, or start from "
                "a more robust network."
            )


@dataclass(frozen=True)
class Judge:
    """Measures the robust accuracy of a network as it would ship.

    Attributes:
        threat: what the adversary may do.
        examples: that are attacked.
        steps: of PGD, each point on its way counted.
        half: whether numbers leave as float16.
    """

    threat: Threat
    examples: Examples
    steps: int
    half: bool

    def __call__(self, model: nn.Module) -> Proportion:
        """``model`` is left as it is; equal weights give equal verdicts."""
        shipped, place = copy.deepcopy(model), next(model.parameters()).device
        if self.half:
            round_half(shipped)
        attack = PGD(self.steps, track=True)
        mask = under_attack(shipped, self.examples.to(place), self.threat, attack, seed=0)
        return Proportion.of(mask)


@dataclass
class Descending:
    """The search for the smallest budget that meets the target, one training for each try.

    Robustness is taken for a line in the logarithm of the bits. While none has failed, the line
    through the last two says how far down to go: it bends downwards, so that this goes a little
    too far, which is what finds the other side soon. Then the line between the smallest that met
    the target and the largest that did not says what to try, in the middle half between them.

    Attributes:
        need: the robust accuracy that meets the target.
        bits: what is to be tried next.
        met: the smallest that met it.
        failed: the largest that did not.
        least: nothing below is tried.
    """

    need: float
    bits: float
    met: float
    failed: float = 0.0
    least: float = 0.0
    _above: _Try | None = field(default=None, init=False)
    _below: _Try | None = field(default=None, init=False)

    @property
    def closed(self) -> bool:
        """Whether what is between the two is not worth a training."""
        return self.met <= 1.02 * max(self.failed, self.least)

    def note(self, seen: float, used: float) -> None:
        """A budget was tried, ``used`` bits were taken of it, and it was ``seen`` so robust."""
        fall = _FALL
        if seen < self.need:
            self.failed = max(self.failed, self.bits)
            self._below = _Try(log(self.failed), seen)
        elif used < self.met or self._above is None:
            self.met, before = min(self.met, used), self._above
            self._above = _Try(log(self.met), seen)
            fall = _FALL if before is None else self._above.down_to(self.need, before)
        self.bits = max(self.least, self._between() if self.failed else self.met * exp(-fall))

    def _between(self) -> float:
        """On the line from the largest that failed to the smallest that met, or half way."""
        share, below, above = 0.5, self._below, self._above
        if below is not None and above is not None:
            share = (self.need - below.robust) / (above.robust - below.robust)
            share = min(max(share, 0.25), 0.75)
        return exp((1 - share) * log(self.failed) + share * log(self.met))


@dataclass(frozen=True)
class _Try:
    """A budget, as the logarithm of its bits, and how robust it was."""

    place: float
    robust: float

    def down_to(self, need: float, before: _Try) -> float:
        """How far down the line from the one ``before`` comes to what is needed, within bounds."""
        lost, way = before.robust - self.robust, before.place - self.place
        return min(max(way * (self.robust - need) / lost, _NEAR), _FAR) if lost > 0 else _FAR
