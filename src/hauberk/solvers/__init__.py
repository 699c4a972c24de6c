"""Solvers: algorithms for any problem, whatever its objective, structures and bounds are."""

from hauberk.solvers.admm import ADMM
from hauberk.solvers.descent import Descent
from hauberk.solvers.dual_ascent import DualAscent
from hauberk.solvers.projected_gradient import ProjectedGradient

__all__ = ["ADMM", "Descent", "DualAscent", "ProjectedGradient"]
