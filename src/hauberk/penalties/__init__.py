"""Penalties that shrink weights towards zero, applied through their proximal maps."""

from hauberk.penalties.group_lasso import GroupLasso
from hauberk.penalties.lasso import Lasso
from hauberk.penalties.tied import TiedPenalty

__all__ = ["GroupLasso", "Lasso", "TiedPenalty"]
