"""Interval: interval bound propagation, in one pass forward.

    [l, u]  →  W c + b ± |W| r,   c = (l + u)/2,  r = (u − l)/2

The margins are taken through the affine layers after the last relu together, as z_y − z_j is one
row of them. Source: Gowal et al. (2018), arXiv 1810.12715.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.bounds.backward import forward, lowest, margins
from hauberk.bounds.margin_bound import MarginBound
from hauberk.bounds.network import Network
from hauberk.bounds.operators import Affine
from hauberk.bounds.region import Region
from hauberk.types import Labels


@dataclass(frozen=True)
class Interval(MarginBound):
    """Boxes alone: the fastest bound and the loosest one."""

    @torch.no_grad()
    def bound(self, network: Network, region: Region, y: Labels) -> Tensor:
        """See `MarginBound.bound`."""
        boxes = forward(network, region)

        def stops(number: int) -> bool:
            return not isinstance(network.nodes[number - 1].operator, Affine)

        a = margins(y, network.classes)
        return lowest(network, len(network.nodes), a, boxes, region, stops)
