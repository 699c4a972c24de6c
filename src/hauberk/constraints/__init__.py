"""The sets that make a network small, each with its exact Euclidean projection."""

from __future__ import annotations

from hauberk.constraints.codebook import Codebook
from hauberk.constraints.fixed_grid import FixedGrid
from hauberk.constraints.float16 import Float16
from hauberk.constraints.patterns import pattern
from hauberk.constraints.per_tensor import PerTensor
from hauberk.constraints.rank import Rank
from hauberk.constraints.sparsity import Annealed, Sparsity
from hauberk.constraints.subset import On
from hauberk.constraints.support import Support
from hauberk.constraints.tied import Tied
from hauberk.constraints.uniform_grid import UniformGrid
from hauberk.ops.groups import Block, Channel, Column, Filter, Grouping, NofM, Weight

__all__ = [
    "Annealed",
    "Block",
    "Channel",
    "Codebook",
    "Column",
    "Filter",
    "FixedGrid",
    "Float16",
    "Grouping",
    "NofM",
    "On",
    "PerTensor",
    "Rank",
    "Sparsity",
    "Support",
    "Tied",
    "UniformGrid",
    "Weight",
    "pattern",
]
