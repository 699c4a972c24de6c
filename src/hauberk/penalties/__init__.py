"""Terms that pull weights to zero, each met by its prox."""

from hauberk.penalties.group_lasso import GroupLasso
from hauberk.penalties.lasso import Lasso
from hauberk.penalties.tied import TiedPenalty

__all__ = ["GroupLasso", "Lasso", "TiedPenalty"]
