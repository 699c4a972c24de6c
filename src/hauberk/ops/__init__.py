"""Pure functions of tensors: no module, and no state but a generator that the caller passes."""

from __future__ import annotations

from hauberk.ops.balls import project_l1, project_l2, project_linf
from hauberk.ops.groups import Block, Channel, Column, Filter, Grouping, NofM, Split, Weight
from hauberk.ops.kmeans import kmeans
from hauberk.ops.simplex import project_simplex
from hauberk.ops.svd import numerical_rank, project_rank, truncated_svd
from hauberk.ops.topk import cut_smallest, keep_largest

__all__ = [
    "Block",
    "Channel",
    "Column",
    "Filter",
    "Grouping",
    "NofM",
    "Split",
    "Weight",
    "cut_smallest",
    "keep_largest",
    "kmeans",
    "numerical_rank",
    "project_l1",
    "project_l2",
    "project_linf",
    "project_rank",
    "project_simplex",
    "truncated_svd",
]
