"""Threats: the sets of perturbed images that an adversary may choose from."""

from __future__ import annotations

from hauberk.threats.l1 import L1
from hauberk.threats.l2 import L2
from hauberk.threats.linf import Linf
from hauberk.threats.none import NoThreat
from hauberk.threats.union import Union

__all__ = ["L1", "L2", "Linf", "NoThreat", "Union"]
