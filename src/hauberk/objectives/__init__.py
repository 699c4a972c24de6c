"""What is minimised: the inner maximisation happens inside."""

from hauberk.objectives.adversarial import Adversarial
from hauberk.objectives.natural import Natural
from hauberk.objectives.trades import Trades

__all__ = ["Adversarial", "Natural", "Trades"]
