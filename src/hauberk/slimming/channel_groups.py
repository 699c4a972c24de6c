"""Channel groups: the output channels of a layer, and all layers that must be pruned with them.

torch-pruning finds the groups in a trace of the network. Departure: a group is used only if NaN,
put into its channels, arrives at the positions that the trace names and at no others. Channels
that pass through a shuffle, a softmax over channels or the like are therefore not pruned.

Source: DepGraph (Fang et al., CVPR 2023, arXiv 2301.12900).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.slimming.constants import axis, by_channel
from hauberk.slimming.layers import Matrix, depthwise, resizable, width

_WEIGHTLESS = frozenset(
    {"ELEMENTWISE", "CONCAT", "SPLIT", "RESHAPE", "UNBIND", "EXPAND", "SLICE", "PRELU"}
)
"""Kinds of node without channels to prune (a PReLU only if it has a single slope)."""


@dataclass(frozen=True)
class Member:
    """One side of one layer in a group.

    Attributes:
        layer: Conv, Linear or a norm.
        reads: whether this is the input side; else it is the output side, or both sides of a norm
            or depthwise convolution.
        at: positions of the group's channels on that side.
        of: the group's channel at each position; after a flatten, many positions have the same.
    """

    layer: nn.Module
    reads: bool
    at: Tensor
    of: Tensor

    @property
    def width(self) -> int:
        """Number of all channels on that side."""
        return width(self.layer, self.reads)

    @property
    def writes(self) -> bool:
        """Whether the layer computes new channels from others."""
        return not self.reads and isinstance(self.layer, Matrix) and not depthwise(self.layer)

    @property
    def distinct(self) -> bool:
        """Whether no position occurs twice."""
        return len(set(self.at.tolist())) == len(self.at)

    def places(self, chosen: Tensor) -> Tensor:
        """Positions of the channels that a mask over the group selects."""
        return self.at[chosen[self.of]]


@dataclass(frozen=True)
class Coupled:
    """A group: the ``size`` channels that ``root`` writes, in all layers that they reach."""

    root: nn.Module
    size: int
    members: tuple[Member, ...]

    @property
    def readers(self) -> list[Member]:
        """The members that are input sides."""
        return [m for m in self.members if m.reads]

    @property
    def whole(self) -> set[nn.Module]:
        """Layers all of whose outputs are in the group."""
        return {m.layer for m in self.members if m.writes and len(m.at) == m.width}


class Graph:
    """The channel groups of a network, as torch-pruning traces them.

    Raises:
        RuntimeError: a layer runs but receives no gradient, so the trace lacks it.
    """

    def __init__(self, net: nn.Module, example: Tensor) -> None:
        import torch_pruning

        runs = _runs(net, example)
        self._shared = {layer for layer, times in runs.items() if times > 1} | _tied(net)
        with torch.enable_grad():
            self._graph: Any = torch_pruning.DependencyGraph().build_dependency(
                net, example, forward_fn=lambda model, x: model(x), verbose=False
            )
        for name, layer in net.named_modules():
            if layer in runs and isinstance(layer, Matrix) and layer not in self._graph.module2node:
                raise RuntimeError(f"the layer {name!r} receives no gradient")

    def roots(self) -> list[nn.Module]:
        """Layers that write channels, last first, because unread channels die backwards."""
        return [
            m
            for m in reversed(list(self._graph.module2node))
            if isinstance(m, Matrix) and not depthwise(m)
        ]

    def coupled(self, root: nn.Module) -> Coupled | None:
        """The group of all channels that ``root`` writes; None if pruning it is not safe."""
        size = width(root, reads=False)
        members = self._members(root, range(size))
        if members is None or not any(m.reads for m in members):
            return None
        return Coupled(root, size, tuple(members))

    def clean(self, group: Coupled, gone: Tensor) -> bool:
        """Whether pruning the channels of a mask would reach their positions and no others."""
        members = self._members(group.root, _numbers(gone)) or ()
        found = {(m.layer, m.reads): set(m.at.tolist()) for m in members}
        wanted = {(m.layer, m.reads): set(m.places(gone).tolist()) for m in group.members}
        return found == {side: places for side, places in wanted.items() if places}

    def cut(self, group: Coupled, gone: Tensor) -> None:
        """Remove the channels of a mask from every layer, in place; the trace is then stale."""
        norms = [m.layer for m in group.members if isinstance(m.layer, nn.GroupNorm)]
        sizes = [norm.num_channels // norm.num_groups for norm in norms]
        self._group(group.root, _numbers(gone)).prune(record_history=False)
        for norm, size in zip(norms, sizes, strict=True):
            norm.num_groups = norm.num_channels // size

    def _group(self, root: nn.Module, channels: Sequence[int]) -> Any:
        write = self._graph.get_pruner_of_module(root).prune_out_channels
        return self._graph.get_pruning_group(root, write, list(channels))

    def _members(self, root: nn.Module, channels: Sequence[int]) -> list[Member] | None:
        members = []
        for item in self._group(root, channels):
            node, handler = item.dep.target, item.dep.handler
            if node.type.name in _WEIGHTLESS:
                if getattr(node.module, "num_parameters", 1) > 1:
                    return None
                continue
            if node.module in self._shared or not resizable(node.module):
                return None
            reads = not self._graph.is_out_channel_pruning_fn(handler)
            if not set(item.idxs) <= set(range(width(node.module, reads))):
                return None
            at, of = torch.tensor(item.idxs), torch.tensor(item.root_idxs)
            members.append(Member(node.module, reads, at, of))
        return members if all(m.distinct for m in members) else None


def traceable(model: nn.Module) -> nn.Module:
    """A copy for the tracer: on the CPU, in eval mode, all float parameters with gradients."""
    net = copy.deepcopy(model).cpu().eval()
    for p in net.parameters():
        p.requires_grad_(p.is_floating_point())
    return net


def release(net: nn.Module) -> None:
    """Free the memory of a traced copy, which reference cycles hold until garbage collection."""
    for t in (*net.parameters(), *net.buffers()):
        t.data = t.new_empty(0)


@contextmanager
def traced(advice: str) -> Iterator[None]:
    """Turn any error of the model's code or of the tracer into a one-line ValueError.

    Args:
        advice: how to do without the trace, for the error.

    Raises:
        ValueError: the code inside the context failed.
    """
    try:
        yield
    except Exception as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"The model's graph could not be traced ({why}); {advice}.") from error


def _numbers(mask: Tensor) -> list[int]:
    return mask.nonzero().flatten().tolist()


@torch.no_grad()
def aligned(net: nn.Module, group: Coupled, gone: Tensor, probe: Tensor) -> bool:
    """Whether the channels of a mask pass from the group's writers to its readers, and only there.

    NaN in these channels must arrive at their positions only, and NaN in the image must not arrive
    there while the channels are held at zero.

    Args:
        net: the network, in eval mode.
        group: the group.
        gone: mask over the group's channels, (size,).
        probe: a batch of one input.
    """
    holds: list[bool] = []

    def arrives(layer: nn.Module, x: Tensor, places: Tensor) -> None:
        found = by_channel(layer, x).isnan().any(1).nonzero().flatten()
        holds.append(set(found.tolist()) == set(places.tolist()))

    def none_arrives(layer: nn.Module, x: Tensor, places: Tensor) -> None:
        holds.append(not by_channel(layer, x)[places].isnan().any())

    with _marked(group, gone, torch.nan, arrives):
        holds.append(not net(probe).isnan().any())
    with _marked(group, gone, 0.0, none_arrives):
        net(torch.full_like(probe, torch.nan))
    return all(holds)


@contextmanager
def _marked(
    group: Coupled, gone: Tensor, mark: float, inspect: Callable[[nn.Module, Tensor, Tensor], None]
) -> Iterator[None]:
    """Make writers output ``mark`` in the channels; inspect what readers get, and zero it."""

    def write(places: Tensor) -> Callable[..., Tensor]:
        return lambda layer, args, out: out.index_fill(axis(layer), places, mark)

    def read(places: Tensor) -> Callable[..., tuple[Tensor, ...]]:
        def hook(layer: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            inspect(layer, args[0], places)
            return (args[0].index_fill(axis(layer), places, 0.0), *args[1:])

        return hook

    hooks = [
        m.layer.register_forward_pre_hook(read(m.places(gone)))
        if m.reads
        else m.layer.register_forward_hook(write(m.places(gone)))
        for m in group.members
        if m.reads or m.writes
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def _runs(net: nn.Module, example: Tensor) -> dict[nn.Module, int]:
    """Number of runs of each layer for one input; a layer that does not run has no entry."""
    runs: dict[nn.Module, int] = {}

    def count(layer: nn.Module, args: object) -> None:
        runs[layer] = runs.get(layer, 0) + 1

    hooks = [layer.register_forward_pre_hook(count) for layer in net.modules()]
    net(example)
    for hook in hooks:
        hook.remove()
    return runs


def _tied(net: nn.Module) -> set[nn.Module]:
    """Layers that share a parameter with another layer."""
    owners: dict[Tensor, set[nn.Module]] = {}
    for layer in net.modules():
        for p in layer.parameters(recurse=False):
            owners.setdefault(p, set()).add(layer)
    return set[nn.Module]().union(*(layers for layers in owners.values() if len(layers) > 1))
