"""Channels that live and die together: what one filter writes, and every layer that reads it.

The groups are torch-pruning's (DepGraph: Fang et al., CVPR 2023, arXiv 2301.12900), from a trace of
the network. Departure: a group is used only where not-a-number, put into its channels, arrives at
the places that the trace names and at no other, so that shuffles, a softmax over channels and the
like are left alone.
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
"""Kinds of node that hold nothing to cut (a PReLU only where it has a single slope)."""


@dataclass(frozen=True)
class Member:
    """One side of one layer in a group.

    Attributes:
        layer: Conv, Linear or a norm.
        reads: the input side; else the output side, or both of a norm or depthwise convolution.
        at: places of the group's channels on that side.
        of: the channel of the group at each of them; after a flatten many share one.
    """

    layer: nn.Module
    reads: bool
    at: Tensor
    of: Tensor

    @property
    def width(self) -> int:
        """All channels of that side."""
        return width(self.layer, self.reads)

    @property
    def writes(self) -> bool:
        """The layer makes new channels of others."""
        return not self.reads and isinstance(self.layer, Matrix) and not depthwise(self.layer)

    @property
    def distinct(self) -> bool:
        """No place is named twice."""
        return len(set(self.at.tolist())) == len(self.at)

    def places(self, chosen: Tensor) -> Tensor:
        """Where the channels stand that a mask over the group picks."""
        return self.at[chosen[self.of]]


@dataclass(frozen=True)
class Coupled:
    """A group: its channels are those that ``root`` writes."""

    root: nn.Module
    size: int
    members: tuple[Member, ...]

    @property
    def readers(self) -> list[Member]:
        """The input sides."""
        return [m for m in self.members if m.reads]

    @property
    def whole(self) -> set[nn.Module]:
        """Layers all of whose outputs are in the group."""
        return {m.layer for m in self.members if m.writes and len(m.at) == m.width}


class Graph:
    """The groups of a network, as torch-pruning traces them.

    Raises:
        RuntimeError: a layer runs and no gradient comes back to it, so that the trace lacks it.
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
                raise RuntimeError(f"no gradient comes back to the layer {name!r}")

    def roots(self) -> list[nn.Module]:
        """Layers that make channels, the last first: what nobody reads any more dies backwards."""
        return [
            m
            for m in reversed(list(self._graph.module2node))
            if isinstance(m, Matrix) and not depthwise(m)
        ]

    def coupled(self, root: nn.Module) -> Coupled | None:
        """The group of all that ``root`` writes; None where it cannot be cut without doubt."""
        size = width(root, reads=False)
        members = self._members(root, range(size))
        if members is None or not any(m.reads for m in members):
            return None
        return Coupled(root, size, tuple(members))

    def clean(self, group: Coupled, gone: Tensor) -> bool:
        """Whether a cut of the channels of a mask would reach their places and no others."""
        members = self._members(group.root, _numbers(gone)) or ()
        found = {(m.layer, m.reads): set(m.at.tolist()) for m in members}
        wanted = {(m.layer, m.reads): set(m.places(gone).tolist()) for m in group.members}
        return found == {side: places for side, places in wanted.items() if places}

    def cut(self, group: Coupled, gone: Tensor) -> None:
        """Take the channels of a mask out of every layer, in place; the trace is then stale."""
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
    """A copy to trace: on the CPU, in eval mode, with a gradient for every number to follow."""
    net = copy.deepcopy(model).cpu().eval()
    for p in net.parameters():
        p.requires_grad_(p.is_floating_point())
    return net


def release(net: nn.Module) -> None:
    """Give a traced copy's memory back: a web of cycles holds it until Python looks for such."""
    for t in (*net.parameters(), *net.buffers()):
        t.data = t.new_empty(0)


@contextmanager
def traced(advice: str) -> Iterator[None]:
    """Turn any error of the model's code or of the tracer into a one-line ValueError."""
    try:
        yield
    except Exception as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"The model's graph could not be traced ({why}); {advice}.") from error


def _numbers(mask: Tensor) -> list[int]:
    return mask.nonzero().flatten().tolist()


@torch.no_grad()
def aligned(net: nn.Module, group: Coupled, gone: Tensor, probe: Tensor) -> bool:
    """Whether the channels of a mask go from the group's writers to its readers, and only there.

    Not-a-number in these channels must arrive at their places alone, and not-a-number in the image
    must not arrive there while they are held at zero.
    """
    holds: list[bool] = []

    def arrives(layer: nn.Module, x: Tensor, places: Tensor) -> None:
        unknown = by_channel(layer, x).isnan().any(1).nonzero().flatten()
        holds.append(set(unknown.tolist()) == set(places.tolist()))

    def absent(layer: nn.Module, x: Tensor, places: Tensor) -> None:
        holds.append(not by_channel(layer, x)[places].isnan().any())

    with _marked(group, gone, torch.nan, arrives):
        holds.append(not net(probe).isnan().any())
    with _marked(group, gone, 0.0, absent):
        net(torch.full_like(probe, torch.nan))
    return all(holds)


@contextmanager
def _marked(
    group: Coupled, gone: Tensor, mark: float, inspect: Callable[[nn.Module, Tensor, Tensor], None]
) -> Iterator[None]:
    """Writers give ``mark`` for the channels; readers are inspected and read zero for them."""

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
    """How often each layer runs for one input; a layer that does not has no entry."""
    runs: dict[nn.Module, int] = {}

    def count(layer: nn.Module, args: object) -> None:
        runs[layer] = runs.get(layer, 0) + 1

    hooks = [layer.register_forward_pre_hook(count) for layer in net.modules()]
    net(example)
    for hook in hooks:
        hook.remove()
    return runs


def _tied(net: nn.Module) -> set[nn.Module]:
    """Layers with a parameter that is another layer's too."""
    owners: dict[Tensor, set[nn.Module]] = {}
    for layer in net.modules():
        for p in layer.parameters(recurse=False):
            owners.setdefault(p, set()).add(layer)
    return set[nn.Module]().union(*(layers for layers in owners.values() if len(layers) > 1))
