"""What is minimised: the inner maximisation happens inside."""

from hauberk.objectives.adversarial import Adversarial
from hauberk.objectives.distill import Distilled, Teacher
from hauberk.objectives.natural import Natural
from hauberk.objectives.target import Hard, Supervised, Target
from hauberk.objectives.trades import Trades

__all__ = [
    "Adversarial",
    "Distilled",
    "Hard",
    "Natural",
    "Supervised",
    "Target",
    "Teacher",
    "Trades",
]
