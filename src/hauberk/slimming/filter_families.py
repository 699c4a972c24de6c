"""Filter families: layers whose filters must be ranked together, because their outputs add up.

Filter i of every writer of a family contributes to channel i of the same sum, and the family's
norms scale that channel. Channels that no layer reads, the network's outputs, form no family.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from hauberk.slimming.channel_groups import Graph, Member, release, traceable, traced
from hauberk.slimming.layers import Norm


@dataclass(frozen=True)
class FilterFamily:
    """Names of layers that share one set of channels.

    Attributes:
        writers: Conv and Linear layers, each with all its filters.
        norms: norm layers of these channels.
    """

    writers: tuple[str, ...]
    norms: tuple[str, ...]


def families(model: nn.Module, example: Tensor) -> list[FilterFamily]:
    """The families of a network, in the order of its layers; a layer is in one at most.

    Args:
        model: any module whose graph can be traced; it is not changed.
        example: a batch of one input, (1, …).

    Raises:
        ValueError: the graph cannot be traced.
    """
    net, found, placed = traceable(model), list[FilterFamily](), set[nn.Module]()
    with traced("give a pattern that needs no graph, such as irregular"):
        graph = Graph(net, example.cpu())
        for root in graph.roots():
            group = None if root in placed else graph.coupled(root)
            if group is not None:
                placed |= group.whole
                norms = {m.layer for m in group.members if _scales(m)}
                found.append(FilterFamily(_names(net, group.whole), _names(net, norms)))
    release(net)
    order = [name for name, _ in net.named_modules()]
    return sorted(found, key=lambda family: order.index(family.writers[0]))


def _scales(member: Member) -> bool:
    """Whether the member is a norm of which all channels are in the group."""
    return isinstance(member.layer, Norm) and len(member.at) == member.width


def _names(net: nn.Module, layers: set[nn.Module]) -> tuple[str, ...]:
    return tuple(name for name, layer in net.named_modules() if layer in layers)
