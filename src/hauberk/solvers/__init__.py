"""Solvers: algorithms that see a problem and nothing of what it means."""

from hauberk.solvers.admm import ADMM
from hauberk.solvers.descent import Descent
from hauberk.solvers.dual_ascent import DualAscent
from hauberk.solvers.projected_gradient import ProjectedGradient

__all__ = ["ADMM", "Descent", "DualAscent", "ProjectedGradient"]
