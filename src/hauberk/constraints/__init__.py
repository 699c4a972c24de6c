"""The sets that make a network small, each with its Euclidean projection.

The projection is exact except in two sets: that of `Codebook` is a heuristic for tensors of many
distinct values (`hauberk.ops.kmeans` says from where on), and that of `UniformGrid` finds a local
optimum for tensors of more than 2²⁰ breakpoints (weights × levels). `Rank` is exact up to
rounding in the singular value decomposition. `allocation.ByteBudget` minimises angles instead.
"""

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
