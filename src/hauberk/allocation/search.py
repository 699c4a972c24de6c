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
"""Robust accuracy that may be missing on other examples."""
_WORD = 32
"""Bits by which files grow."""


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
        subject = Subject.of(shipped, self.examples.to(place), self.threat)
        mask = under_attack(subject, attack)
        return Proportion.of(mask)


@dataclass
class Descending:
    """The search for the smallest budget that meets the target, one training for each try.

    While none has failed, the next is smaller by a fixed share: a network that is to lose much more
    in one leg ends less robust than one of its size that came down slowly, and fails where that
    one would not. Between the smallest that met the target and the largest that did not,
    robustness is taken for a line in the logarithm of the bits, and the next is where the line
    comes to what is needed, in the middle half.

    Attributes:
        need: the robust accuracy that meets the target.
        bits: what is to be tried next.
        met: the smallest that met it.
        failed: the largest that did not.
        least: nothing below is tried.
        step: by which ``bits`` falls while none has failed.
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
        """Whether what is between the two is not worth a training."""
        return self.met <= 1.02 * max(self.failed, self.least)

    def note(self, robust: float, used: float) -> None:
        """A budget was tried, ``used`` bits were taken of it, and it was so ``robust``."""
        if robust < self.need:
            self.failed, self._failed_by = max(self.failed, self.bits), robust
        else:
            self.met, self._met_by = min(self.met, used), robust
        self.bits = max(self.least, self._between() if self.failed else self.met * self.step)

    def _between(self) -> float:
        """Half way where the smallest that met the target is a cut that was not trained."""
        share, met, failed = 0.5, self._met_by, self._failed_by
        if met is not None and failed is not None:
            share = min(max((self.need - failed) / (met - failed), 0.25), 0.75)
        return exp((1 - share) * log(self.failed) + share * log(self.met))


@dataclass
class Trimming:
    """How much is taken off the smallest file at a time: half as much after each failure.

    It ends when a single word was too much, or when what is left would be below the least.

    Attributes:
        least: nothing below is tried.
        share: of the file's bits that is taken off, if it is more than a word.
    """

    least: float = 0.0
    share: float = 0.05
    _off: float = field(default=inf, init=False)
    _closed: bool = field(default=False, init=False)

    def limit(self, bits: float) -> float | None:
        """What a file of so many bits is cut to next, if that is worth a try."""
        self._off = max(self.share * bits, _WORD)
        return None if self._closed or bits - self._off < self.least else bits - self._off

    def note(self, met: bool) -> None:
        """Whether what was cut so far met the target."""
        if not met:
            self.share, self._closed = self.share / 2, self._off <= _WORD
