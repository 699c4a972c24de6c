"""Methods, one paper a file: which objective, which structures, which solver, in which stages."""

from hauberk.method import Method
from hauberk.methods.admm_pruning import ADMMPruning
from hauberk.methods.al0 import AL0
from hauberk.methods.alr import ALR
from hauberk.methods.ap import AP, NAP
from hauberk.methods.atmc import ATMC
from hauberk.methods.dense import DA
from hauberk.methods.gan_slimming import GANSlimming
from hauberk.methods.int8 import Int8
from hauberk.methods.reweighted import Reweighted
from hauberk.methods.robust_boosting import RobustBoosting
from hauberk.methods.robustness_target import RobustnessTarget
from hauberk.methods.size_target import SizeTarget

__all__ = [
    "AL0",
    "ALR",
    "AP",
    "ATMC",
    "DA",
    "NAP",
    "ADMMPruning",
    "GANSlimming",
    "Int8",
    "Method",
    "Reweighted",
    "RobustBoosting",
    "RobustnessTarget",
    "SizeTarget",
]
