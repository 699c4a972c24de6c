"""Real shrinking: dead filters and channels leave the network, which computes what it did.

    min Σ channels   s.t.   f_slim(x) = f(x) for every x

A channel is dead if no layer reads it, or if every layer that does finds a constant there, whatever
the image; that is decided by zero weights and zero batch-norm scales, never by what some images
give. Constants are folded into their readers (`fold`), coupled layers are cut together (`coupled`),
and that again until nothing more dies.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hauberk.slimming.channel_groups import Graph, aligned, traceable, traced
from hauberk.slimming.constants import constants
from hauberk.slimming.fold import Reading, choose
from hauberk.slimming.resize import resize

_TOLERANCE = 1e-4
"""Logits may differ by so much of the largest: sums over fewer channels are rounded elsewhere."""


def slim(model: nn.Module, example: Tensor, *, exact: bool = True) -> nn.Module:
    """``model`` without its dead channels, as a copy of ordinary layers in eval mode.

    Each layer keeps at least one channel; inputs and outputs of the network stay. Layers that are
    used twice, grouped (but not depthwise) convolutions and what they are coupled to
    stay as they are.

    Args:
        model: any module that gives one tensor; it is not changed.
        example: a batch of one input, (1, …).
        exact: keep the output at the border of zero-padded convolutions, at the cost of a channel
            or so per group; without it all dead channels go, and biases that are there take up
            what they gave to the interior, as before a retraining.

    Raises:
        ValueError: weights are parametrised, the graph cannot be traced, or the copy does not
            compute what the model does.
    """
    _check_plain(model)
    net, example = traceable(model), example.detach().cpu()
    trained = {name: p.requires_grad for name, p in model.named_parameters()}
    with traced("leave slim out for this model"):
        before = _logits(net, example)
        while _sweep(net, example, exact):
            pass
        _compare(before, _logits(net, example), exact)
    for name, p in net.named_parameters():
        p.requires_grad_(trained.get(name, True))
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    return net.to(device)


def shrink(model: nn.Module, example: Tensor) -> None:
    """`slim`, in place and with no border kept: what a retraining starts from.

    Raises:
        ValueError: weights are parametrised, or the graph cannot be traced.
    """
    small = slim(model, example, exact=False).state_dict()
    resize(model, {name: tuple(t.shape) for name, t in small.items()})
    model.load_state_dict(small)


def _sweep(net: nn.Module, example: Tensor, exact: bool) -> bool:
    """Cut each group once; whether anything died."""
    probe, seen, changed = _random(example, 1), set[nn.Module](), False
    graph, held = Graph(net, example), constants(net, probe, exact=exact)
    for root in graph.roots():
        group = None if root in seen else graph.coupled(root)
        if group is None:
            continue
        seen |= group.whole
        readings = [Reading.of(member, group.size, held) for member in group.readers]
        gone, carriers = choose(readings, group, exact=exact)
        if not gone.any() or not aligned(net, group, gone, probe) or not graph.clean(group, gone):
            continue
        for r in readings:
            r.settle(gone, carriers, exact=exact)
        graph.cut(group, gone)
        graph, held = Graph(net, example), constants(net, probe, exact=exact)
        changed = True
    return changed


def _check_plain(model: nn.Module) -> None:
    for name, layer in model.named_modules():
        if parametrize.is_parametrized(layer):
            raise ValueError(
                f"The layer {name!r} has parametrised weights, and slim cuts plain ones; "
                "collapse them first (hauberk.parametrize.collapse), or leave slim out."
            )


def _random(example: Tensor, count: int) -> Tensor:
    """``count`` images, always the same."""
    shape = (count, *example.shape[1:])
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(example.dtype)


@torch.no_grad()
def _logits(net: nn.Module, example: Tensor) -> Tensor:
    """The outputs on a few random images."""
    out = net(_random(example, 4))
    if not isinstance(out, Tensor):
        raise TypeError(f"it gives a {type(out).__name__}, not one tensor")
    return out


def _compare(before: Tensor, after: Tensor, exact: bool) -> None:
    """Refuse a slim net that computes something else."""
    same = before.shape == after.shape
    if same and exact:
        same = bool(((after - before).abs() <= _TOLERANCE * before.abs().max()).all())
    if not same:
        raise ArithmeticError("it computes something else without its dead channels")
