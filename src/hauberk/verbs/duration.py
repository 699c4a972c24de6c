"""Duration: about how long a training will take, from a few steps on random images."""

from __future__ import annotations

import time

import torch
from torch import nn

from hauberk.dataset import Data
from hauberk.method import Method
from hauberk.parametrize.plain import copied
from hauberk.runtime.device import placed

WORTH_SAYING = 60.0
"""Seconds from which on a training is announced."""
_FEW, _MORE = 2, 8
"""Images of the two steps that are timed; longer batches are extrapolated."""


def estimate(
    net: nn.Module, data: Data, method: Method, attacked: bool, trained: bool, place: torch.device
) -> float:
    """Seconds that the training will take, to a factor of about two.

    Plans between the stages and the evaluation are not in it.

    Args:
        net: the network, which is not changed.
        data: what it is trained on.
        method: how it is trained.
        attacked: whether images are attacked in training.
        trained: whether no dense network is trained first.
        place: where it is trained.
    """
    rows = min(method.optimisation.batch_size, len(data.train))
    steps = method.passes(trained) * max(1, len(data.train) // rows)
    calls = 1 + (method.training_attack.attack_steps if attacked else 0)
    return steps * calls * _call_seconds(net, data.shape, rows, place)


def _call_seconds(net: nn.Module, shape: tuple[int, ...], rows: int, place: torch.device) -> float:
    """Seconds of one gradient of a batch, from two short batches, the first call left out."""
    with torch.random.fork_rng(devices=[]):
        twin = placed(copied(net), place, len(shape) == 3).train()
        few, more = min(_FEW, rows), min(_MORE, rows)
        _timed(twin, torch.rand(few, *shape, device=place))
        short, long = (_timed(twin, torch.rand(n, *shape, device=place)) for n in (few, more))
    if more == few:
        return short
    return max(short, short + (long - short) / (more - few) * (rows - few))


def _timed(net: nn.Module, x: torch.Tensor) -> float:
    began = time.perf_counter()
    found = net(x.requires_grad_())
    out = found[0] if isinstance(found, tuple | list) else found
    torch.autograd.grad(out.float().square().mean(), x, allow_unused=True)
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return time.perf_counter() - began
