"""Recipe: the settings that trainings share, as frozen values that check themselves.

A `Method` holds one of each. Every setting has one name: the field's name, the command-line flag
(``attack_steps`` is ``--attack-steps``) and the TOML key are the same, so no two values of one
method share a field's name.
"""

from hauberk.recipe.distillation import Distillation
from hauberk.recipe.limits import Limits
from hauberk.recipe.optimisation import Optimisation
from hauberk.recipe.packaging import FactorPackaging, FileSettings, GridPackaging, Packaging
from hauberk.recipe.threat_weighting import ThreatWeighting
from hauberk.recipe.training_attack import TrainingAttack
from hauberk.recipe.training_loss import TrainingLoss
from hauberk.training.augment import Augmentation

__all__ = [
    "Augmentation",
    "Distillation",
    "FactorPackaging",
    "FileSettings",
    "GridPackaging",
    "Limits",
    "Optimisation",
    "Packaging",
    "ThreatWeighting",
    "TrainingAttack",
    "TrainingLoss",
]
