"""Training loss: what is minimised on each batch."""

from __future__ import annotations

from dataclasses import dataclass, field

from hauberk.objectives import (
    Adversarial,
    CertifiedLoss,
    Natural,
    Supervised,
    Trades,
    WeightPerturbed,
)
from hauberk.objectives.weight_perturbation import refuse_perturbation
from hauberk.problem import Objective
from hauberk.recipe.threat_weighting import ThreatWeighting
from hauberk.recipe.training_attack import TrainingAttack
from hauberk.runtime.packages import own
from hauberk.threat import Threat
from hauberk.threats import NoThreat


@dataclass(frozen=True, kw_only=True)
class TrainingLoss:
    """The loss on each batch.

    Attributes:
        clean: fraction of clean loss mixed with the adversarial loss, in [0, 1).
        q: exponent of the adversarial loss, in [0, 1]: the larger, the less hopeless examples
            count (see `Adversarial`); 0 is cross-entropy.
        trades: weight of TRADES' robustness term, which replaces the adversarial loss (1 to 6 are
            usual); 0 is off.
        awp: adversarial weight perturbation: train at the worst weights within this fraction of
            each tensor's norm (0.005 is usual); 0 is off.
        natural: train on clean images, without an adversary.
        certified: weight of the loss at the worst logits that interval bounds allow, in [0, 1]; the
            adversarial loss has the rest. 1 is IBP, which makes no attack and mixes in ``clean``;
            0 is off.
        custom: an objective of your own in place of these losses, package.module:Name, which is
            called with the threat.

    Raises:
        ValueError: a setting outside its range.
    """

    clean: float = 0.0
    q: float = 0.0
    trades: float = 0.0
    awp: float = 0.0
    natural: bool = False
    certified: float = 0.0
    custom: str = field(default="", metadata={"flag": "objective", "example": "mine:Margin"})

    def __post_init__(self) -> None:
        if not 0 <= self.clean < 1:
            raise ValueError(f"clean was given as {self.clean}; give a fraction in [0, 1).")
        if not 0 <= self.q <= 1:
            raise ValueError(f"q was given as {self.q}; give an exponent in [0, 1].")
        if not self.trades >= 0:
            raise ValueError(f"trades was given as {self.trades}; give a weight of 0 or more.")
        if self.trades and (self.clean or self.q or self.natural):
            raise ValueError(
                "trades was given with clean, q or natural, each of which chooses another loss; "
                "give one of them."
            )
        if not 0 <= self.certified <= 1:
            raise ValueError(f"certified was given as {self.certified}; give a weight in [0, 1].")
        if self.certified and (self.q or self.trades or self.natural):
            raise ValueError(
                "certified was given with q, trades or natural, each of which chooses another "
                "loss; give one of them."
            )
        if self.custom and (self.certified or self.clean or self.q or self.trades):
            raise ValueError(
                "objective was given with certified, clean, q or trades, which are settings of "
                "hauberk's own losses; leave them out."
            )
        if self.awp:
            refuse_perturbation(self.awp)

    def objective(
        self, threat: Threat, attack: TrainingAttack, weighting: ThreatWeighting, warmup: float
    ) -> Objective:
        """The objective of one stage.

        Args:
            threat: the adversary's set, or the union of several.
            attack: how the adversary searches.
            weighting: how several threats count.
            warmup: fraction of the stage over which the threat grows to its full size.

        Raises:
            ValueError: settings of several threats for a single one.
        """
        if self.custom:
            wanted = "a function that takes a threat and returns a hauberk.objectives.Supervised"
            base = own(self.custom, Supervised, wanted, threat)  # type: ignore[type-abstract]
        elif self.natural or isinstance(threat, NoThreat):
            base = Natural()
        else:
            base = self._adversarial(threat, attack, weighting, warmup)
        return WeightPerturbed(base, self.awp) if self.awp else base

    def _adversarial(
        self, threat: Threat, attack: TrainingAttack, weighting: ThreatWeighting, warmup: float
    ) -> Supervised:
        several = weighting.of(threat)
        robust = Adversarial(threat, attack.search(), self.clean, warmup, self.q, *several)
        if self.certified:
            return CertifiedLoss(robust, self.certified)
        return Trades(robust, self.trades) if self.trades else robust
