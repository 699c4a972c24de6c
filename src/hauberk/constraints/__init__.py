"""The sets that make a network small, each with its exact Euclidean projection."""

from __future__ import annotations

from hauberk.constraints.byte_budget import ByteBudget, Choice, Codec
from hauberk.constraints.codebook import Codebook
from hauberk.constraints.grid import Grid
from hauberk.constraints.half import HalfPrecision
from hauberk.constraints.lattice import Lattice
from hauberk.constraints.on import On
from hauberk.constraints.pattern import pattern
from hauberk.constraints.per_tensor import PerTensor
from hauberk.constraints.rank import Rank
from hauberk.constraints.sparsity import Annealed, Sparsity
from hauberk.constraints.support import Support
from hauberk.constraints.tied import Tied
from hauberk.ops.groups import Block, Channel, Column, Filter, Grouping, NofM, Weight

__all__ = [
    "Annealed",
    "Block",
    "ByteBudget",
    "Channel",
    "Choice",
    "Codebook",
    "Codec",
    "Column",
    "Filter",
    "Grid",
    "Grouping",
    "HalfPrecision",
    "Lattice",
    "NofM",
    "On",
    "PerTensor",
    "Rank",
    "Sparsity",
    "Support",
    "Tied",
    "Weight",
    "pattern",
]
