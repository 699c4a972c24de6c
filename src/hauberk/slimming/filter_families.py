"""Layers whose filters have to be judged together, for their outputs are one and the same.

Filter i of every writer of a family makes channel i of the same sum, and the norms of the family
scale it. A family that nobody reads, the network's output, is none.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from hauberk.slimming.channel_groups import Graph, Member, release, traceable, traced
from hauberk.slimming.layers import Norm


@dataclass(frozen=True)
class Family:
    """Names of layers with one set of channels.

    Attributes:
        writers: Conv and Linear layers, each with all its filters.
        norms: what normalises these channels.
    """

    writers: tuple[str, ...]
    norms: tuple[str, ...]


def families(model: nn.Module, example: Tensor) -> list[Family]:
    """Every family of a network in its own order, each layer in one of them at most.

    Args:
        model: any module whose graph can be traced; it is not changed.
        example: a batch of one input, (1, …).

    Raises:
        ValueError: the graph cannot be traced.
    """
    net, found, placed = traceable(model), list[Family](), set[nn.Module]()
    with traced("give a pattern that needs no graph, such as irregular"):
        graph = Graph(net, example.cpu())
        for root in graph.roots():
            group = None if root in placed else graph.coupled(root)
            if group is not None:
                placed |= group.whole
                norms = {m.layer for m in group.members if _scales(m)}
                found.append(Family(_names(net, group.whole), _names(net, norms)))
    release(net)
    order = [name for name, _ in net.named_modules()]
    return sorted(found, key=lambda family: order.index(family.writers[0]))


def _scales(member: Member) -> bool:
    """A norm of all its channels."""
    return isinstance(member.layer, Norm) and len(member.at) == member.width


def _names(net: nn.Module, layers: set[nn.Module]) -> tuple[str, ...]:
    return tuple(name for name, layer in net.named_modules() if layer in layers)
