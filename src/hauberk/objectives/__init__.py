"""What is minimised: the inner maximisation happens inside."""

from hauberk.objectives.adversarial import Adversarial
from hauberk.objectives.distill import Distilled, Teacher
from hauberk.objectives.natural import Natural
from hauberk.objectives.rate import Held, Rate, Tariff
from hauberk.objectives.target import Hard, Supervised, Target
from hauberk.objectives.trades import Trades
from hauberk.objectives.weight_perturbation import WeightPerturbed
from hauberk.objectives.worst_domain import (
    AVERAGE,
    WORST,
    Audit,
    PerSample,
    Shared,
    Weighting,
    WorstDomain,
)

__all__ = [
    "AVERAGE",
    "WORST",
    "Adversarial",
    "Audit",
    "Distilled",
    "Hard",
    "Held",
    "Natural",
    "PerSample",
    "Rate",
    "Shared",
    "Supervised",
    "Target",
    "Tariff",
    "Teacher",
    "Trades",
    "WeightPerturbed",
    "Weighting",
    "WorstDomain",
]
