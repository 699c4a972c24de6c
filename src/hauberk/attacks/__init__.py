"""Maximisers over any threat, one file each; and over several domains at once."""

from hauberk.attacks.ensemble import ensemble, in_one_unit
from hauberk.attacks.fgsm import FGSM
from hauberk.attacks.losses import LogitLoss, cross_entropy, hinge, margin
from hauberk.attacks.minmax import DomainLoss, Fooled, MinMaxPGD
from hauberk.attacks.pgd import PGD
from hauberk.attacks.transformations import (
    Transform,
    brighter,
    flipped,
    rotated,
    shifted,
    transformed,
    unchanged,
)
from hauberk.attacks.universal import perturbation, universal

__all__ = [
    "FGSM",
    "PGD",
    "DomainLoss",
    "Fooled",
    "LogitLoss",
    "MinMaxPGD",
    "Transform",
    "brighter",
    "cross_entropy",
    "ensemble",
    "flipped",
    "hinge",
    "in_one_unit",
    "margin",
    "perturbation",
    "rotated",
    "shifted",
    "transformed",
    "unchanged",
    "universal",
]
