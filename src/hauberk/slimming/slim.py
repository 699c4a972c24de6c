"""Structured shrinking: remove dead filters and channels without changing the function.

    min Σ channels   s.t.   f_slim(x) = f(x) for every x

A channel is dead if no layer reads it, or if every layer that reads it finds the same constant for
all images. Zero weights and zero scales of norms decide this, never sample images. Constants are
folded into their readers (`fold`), coupled layers are pruned together (`channel_groups`), and this
repeats until no more channels die.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hauberk.slimming.channel_groups import Graph, aligned, traceable, traced
from hauberk.slimming.constants import constants
from hauberk.slimming.fold import LayerInputs, choose
from hauberk.slimming.resize import resize

_TOLERANCE = 1e-4
"""Tolerance on logits, relative to the largest: sums over fewer channels round differently."""


def slim(model: nn.Module, example: Tensor, *, exact: bool = True) -> nn.Module:
    """A copy of ``model`` without its dead channels, with ordinary layers, in eval mode.

    Each layer keeps at least one channel; the network's inputs and outputs do not change. Layers
    that are used twice, grouped (but not depthwise) convolutions, and layers that are coupled to
    them are not pruned.

    Args:
        model: any module that returns one tensor; it is not changed.
        example: a batch of one input, (1, …).
        exact: preserve the output at the borders of zero-padded convolutions, at the cost of about
            one channel per group. Otherwise all dead channels go, and existing biases absorb their
            effect on the interior, which suffices before retraining.

    Raises:
        ValueError: weights are parametrised, the graph cannot be traced, or the outputs of the copy
            differ from the model's.
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
    """`slim` in place, without preserving borders, as the start of retraining.

    Raises:
        ValueError: weights are parametrised, or the graph cannot be traced.
    """
    small = slim(model, example, exact=False).state_dict()
    resize(model, {name: tuple(t.shape) for name, t in small.items()})
    model.load_state_dict(small)


def _sweep(net: nn.Module, example: Tensor, exact: bool) -> bool:
    """Prune each group once; return whether any channel was removed."""
    probe, seen, changed = _random(example, 1), set[nn.Module](), False
    graph, held = Graph(net, example), constants(net, probe, exact=exact)
    for root in graph.roots():
        group = None if root in seen else graph.coupled(root)
        if group is None:
            continue
        seen |= group.whole
        readings = [LayerInputs.of(member, group.size, held) for member in group.readers]
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
                f"The layer {name!r} has parametrised weights, and slim needs plain ones; "
                "collapse them first (hauberk.parametrize.collapse), or leave slim out."
            )


def _random(example: Tensor, count: int) -> Tensor:
    """``count`` random images, the same at every call."""
    shape = (count, *example.shape[1:])
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(example.dtype)


@torch.no_grad()
def _logits(net: nn.Module, example: Tensor) -> Tensor:
    """The network's outputs for a few random images."""
    out = net(_random(example, 4))
    if not isinstance(out, Tensor):
        raise TypeError(f"it returns a {type(out).__name__}, not one tensor")
    return out


def _compare(before: Tensor, after: Tensor, exact: bool) -> None:
    """Check that the slim network's outputs are the same."""
    same = before.shape == after.shape
    if same and exact:
        same = bool(((after - before).abs() <= _TOLERANCE * before.abs().max()).all())
    if not same:
        raise ArithmeticError("its outputs change without its dead channels")
