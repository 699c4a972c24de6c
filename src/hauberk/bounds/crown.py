"""Crown: linear bounds from the margins back to the images.

An unstable relu, l < 0 < u, lies between two lines:

    α x  ≤  max(x, 0)  ≤  u (x − l)/(u − l),   α ∈ [0, 1]

CROWN takes α = 1 where u > −l, else 0. Any α is sound; ``slopes`` steps of gradient ascent look for
better ones. The boxes [l, u] come from intervals (CROWN-IBP), or with ``full`` from CROWN itself,
layer after layer.

Sources: CROWN: Zhang et al. (2018), arXiv 1811.00866; CROWN-IBP: Zhang et al. (2020), arXiv
1906.06316; optimised slopes: Xu et al. (2021), arXiv 2011.13824.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.bounds.backward import forward, lowest, margins
from hauberk.bounds.boxes import Box
from hauberk.bounds.margin_bound import MarginBound
from hauberk.bounds.network import Network
from hauberk.bounds.operators import Affine, Relu
from hauberk.bounds.region import Region
from hauberk.types import Labels

_SPECS = 256
"""Coefficients that are pulled back at a time."""
_RATE = 0.1


@dataclass(frozen=True)
class Crown(MarginBound):
    """Linear bounds of relus and of max pooling.

    Attributes:
        full: bounds before each relu come from CROWN as well: tighter, and slower by far.
        slopes: steps of Adam on the lower slopes α; 0 leaves CROWN's.

    Raises:
        ValueError: a negative number of steps.
    """

    full: bool = False
    slopes: int = 0

    def __post_init__(self) -> None:
        if self.slopes < 0:
            raise ValueError(f"slopes was given as {self.slopes}; give 0 steps or more.")

    @property
    def name(self) -> str:
        """``crown-ibp``, or ``crown`` with full bounds."""
        return "crown" if self.full else "crown-ibp"

    @torch.no_grad()
    def bound(self, network: Network, region: Region, y: Labels) -> Tensor:
        """See `MarginBound.bound`."""
        boxes = self._tightened(network, region) if self.full else forward(network, region)
        a, last = margins(y, network.classes), len(network.nodes)
        found = lowest(network, last, a, boxes, region)
        if self.slopes:
            best = self._ascended(network, region, boxes, a, y)
            found = found.maximum(lowest(network, last, a, boxes, region, slopes=best))
        return found

    def _tightened(self, network: Network, region: Region) -> list[Box]:
        """Boxes by intervals; before each relu and pooling but the first by CROWN.

        Before the first there is one affine layer as a rule, where intervals are exact.
        """
        boxes, wanted, curved = [region.box], set(_bent(network)), _after_bends(network)
        for number, node in enumerate(network.nodes, start=1):
            box = node.operator.box(*(boxes[i] for i in node.inputs))
            boxes.append(box)
            if number in wanted and number in curved:
                boxes[number] = self._by_crown(network, number, boxes, region)
        return boxes

    def _by_crown(self, network: Network, number: int, boxes: list[Box], region: Region) -> Box:
        """The box of one node, with CROWN's bounds where some example may be unstable."""
        box = boxes[number]
        shape, low, high = box.low.shape, box.low.flatten(1).clone(), box.high.flatten(1).clone()
        unstable = ((low < 0) & (high > 0)).any(0).nonzero()[:, 0]
        for some in torch.split(unstable, _SPECS):
            one = low.new_zeros(len(some), low.shape[1])
            one[torch.arange(len(some)), some] = 1
            a = one.reshape(1, len(some), *shape[1:]).expand(len(low), len(some), *shape[1:])
            below = lowest(network, number, a, boxes, region)
            above = -lowest(network, number, -a, boxes, region)
            low[:, some] = low[:, some].maximum(below)
            high[:, some] = high[:, some].minimum(above)
        return Box(low.view(shape), high.view(shape))

    def _ascended(
        self, network: Network, region: Region, boxes: list[Box], a: Tensor, y: Labels
    ) -> dict[int, Tensor]:
        """Slopes that raise the least margin, from CROWN's on."""
        slopes = {
            number: (boxes[node.inputs[0]].high > -boxes[node.inputs[0]].low).double()
            for number, node in enumerate(network.nodes, start=1)
            if isinstance(node.operator, Relu)
        }
        if not slopes:
            return slopes
        leaves = {number: slope.requires_grad_() for number, slope in slopes.items()}
        adam = torch.optim.Adam(leaves.values(), lr=_RATE)
        for _ in range(self.slopes):
            with torch.enable_grad():
                found = lowest(network, len(network.nodes), a, boxes, region, slopes=leaves)
                worst = found.scatter(1, y[:, None], torch.inf).amin(1)
                grads = torch.autograd.grad(-worst.sum(), list(leaves.values()))
            for slope, grad in zip(leaves.values(), grads, strict=True):
                slope.grad = grad
            adam.step()
            for slope in leaves.values():
                slope.clamp_(0, 1)
        return {number: slope.detach() for number, slope in leaves.items()}


def _bent(network: Network) -> Iterator[int]:
    """The nodes that a relu or a pooling takes."""
    for node in network.nodes:
        if not isinstance(node.operator, Affine):
            yield from node.inputs


def _after_bends(network: Network) -> set[int]:
    """The affine nodes that depend on a relu or a pooling."""
    bent, found = set[int](), set[int]()
    for number, node in enumerate(network.nodes, start=1):
        affine = isinstance(node.operator, Affine)
        if not affine or bent & set(node.inputs):
            bent.add(number)
            found |= {number} if affine else set()
    return found
