"""Linear bounds, backwards: from coefficients of one node's output to a number for each example.

    ⟨a, z_k⟩  ≥  Σ_i ⟨a_i, z_i⟩ + c      at each operator, from the last one to the first

The walk ends at nodes whose own boxes are taken, or at the images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from hauberk.bounds.boxes import Box
from hauberk.bounds.network import Network
from hauberk.bounds.region import Region

_SUM = 2.0**-40
"""Allowance for adding up the constants in float64, relative to their absolute values."""
Boxes = Sequence[Box]
"""A box for each node; the first is of the images."""


def forward(network: Network, region: Region) -> list[Box]:
    """The box of each node by interval arithmetic, that of the images first.

    Args:
        network: the operators.
        region: of the images.
    """
    boxes = [region.box]
    for node in network.nodes:
        boxes.append(node.operator.box(*(boxes[i] for i in node.inputs)))
    return boxes


def lowest(
    network: Network,
    node: int,
    a: Tensor,
    boxes: Boxes,
    region: Region,
    stops: Callable[[int], bool] = lambda _: False,
    slopes: Mapping[int, Tensor] | None = None,
) -> Tensor:
    """A lower bound of ``⟨a, z⟩`` over the region, (batch, spec).

    Args:
        network: the operators.
        node: number of the node whose output z is.
        a: coefficients, (batch, spec, …), float64.
        boxes: of all nodes up to this one.
        region: of the images.
        stops: the nodes whose boxes are taken in place of going on.
        slopes: of the lower lines of relus, by node; CROWN's for the others.
    """
    waiting: dict[int, Tensor] = {node: a}
    total = a.new_zeros(a.shape[:2])
    size = torch.zeros_like(total)
    for number in range(node, -1, -1):
        coefficients = waiting.pop(number, None)
        if coefficients is None:
            continue
        if number == 0 or stops(number):
            found = (region if number == 0 else boxes[number]).lowest(coefficients)
        else:
            own = network.nodes[number - 1]
            inputs = [boxes[i] for i in own.inputs]
            slope = None if slopes is None else slopes.get(number)
            parts, found = own.operator.pull(coefficients, inputs, slope)
            for i, part in zip(own.inputs, parts, strict=True):
                waiting[i] = waiting[i] + part if i in waiting else part
        total, size = total + found, size + found.abs()
    return total - _SUM * size


def margins(y: Tensor, classes: int) -> Tensor:
    """The coefficients of ``z_y − z_j`` for every class j, (batch, class, class).

    Args:
        y: labels, (batch,).
        classes: their number.
    """
    one = torch.eye(classes, dtype=torch.float64, device=y.device)
    return one[y][:, None] - one[None]
