"""Methods, one paper a file: which objective, which structures, which solver, in which stages."""

from hauberk.methods.admm_prune import AdmmPrune
from hauberk.methods.atmc import ATMC
from hauberk.methods.dense import DA
from hauberk.methods.distortion_constrained import DistortionConstrained
from hauberk.methods.int8 import Int8
from hauberk.methods.low_rank import ALR
from hauberk.methods.method import Method
from hauberk.methods.min_max import MinMax
from hauberk.methods.pruned import AP, NAP
from hauberk.methods.reweighted import Reweighted
from hauberk.methods.sized import Sized
from hauberk.methods.sparse import AL0

__all__ = [
    "AL0",
    "ALR",
    "AP",
    "ATMC",
    "DA",
    "NAP",
    "AdmmPrune",
    "DistortionConstrained",
    "Int8",
    "Method",
    "MinMax",
    "Reweighted",
    "Sized",
]
