"""Objectives: what is minimised; the inner maximisation happens inside."""

from hauberk.objectives.adversarial import Adversarial
from hauberk.objectives.audit import Audit
from hauberk.objectives.boosted import Boosted, MarginHard, OnPart
from hauberk.objectives.certified import CertifiedLoss
from hauberk.objectives.distances import Distance, MeanSquared, Perceptual
from hauberk.objectives.distill import Distilled, Teacher
from hauberk.objectives.gan import Adversary, Imitation
from hauberk.objectives.natural import Natural
from hauberk.objectives.rate import Held, Rate, TensorRate
from hauberk.objectives.supervised import Hard, Supervised, Target
from hauberk.objectives.trades import Trades
from hauberk.objectives.weight_perturbation import WeightPerturbed
from hauberk.objectives.weighting import (
    AVERAGE,
    WORST,
    PerExampleWeights,
    SharedWeights,
    Weighting,
)

__all__ = [
    "AVERAGE",
    "WORST",
    "Adversarial",
    "Adversary",
    "Audit",
    "Boosted",
    "CertifiedLoss",
    "Distance",
    "Distilled",
    "Hard",
    "Held",
    "Imitation",
    "MarginHard",
    "MeanSquared",
    "Natural",
    "OnPart",
    "PerExampleWeights",
    "Perceptual",
    "Rate",
    "SharedWeights",
    "Supervised",
    "Target",
    "Teacher",
    "TensorRate",
    "Trades",
    "WeightPerturbed",
    "Weighting",
]
