"""Maximisers over any threat, one file each."""

from hauberk.attacks.fgsm import FGSM
from hauberk.attacks.pgd import PGD

__all__ = ["FGSM", "PGD"]
