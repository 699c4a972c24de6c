"""Training steps to compare: a bare PGD training loop, and a stage of each method."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import torch
from torch import nn
from torch.nn import functional as F

import hauberk as hb
from hauberk.batch import Batch
from hauberk.dataset import Examples
from hauberk.training.stage import Stage

SEED, CLASSES, PROGRESS = 0, 10, 0.7
THREAT = hb.Linf(8 / 255)
NETS = {"430 K": ("caffe-lenet", 1, 28), "11 M": ("resnet18", 3, 32), "21 M": ("resnet34", 3, 32)}
"""By the number of weights: the name, the channels and the pixels a side."""
METHODS: Mapping[str, tuple[hb.Method, int]] = {
    "DA": (hb.DA(), 0),
    "AL0": (hb.AL0(), 0),
    "ATMC": (hb.ATMC(), 0),
    "ATMC codebook": (hb.ATMC(), 1),
    "ATMC UVC": (hb.ATMC(factors=True), 0),
    "ADMM": (hb.ADMMPruning(pattern="filter", keep=0.25).with_(slim=False), 0),
}
"""Each with the index of the stage that is timed."""
Contestant: TypeAlias = tuple[Callable[[], None], nn.Module]
"""A step, and the network that it trains."""


def contestant(name: str, net: str, size: int, steps: int) -> Contestant:
    """The bare loop, or a method, by name.

    Args:
        name: ``bare`` or one of `METHODS`.
        net: one of `NETS`.
        size: of a batch.
        steps: of the training attack.
    """
    if name == "bare":
        return bare(net, size, steps)
    method, index = METHODS[name]
    return ours(net, size, method.with_(attack_steps=steps), index)


def bare(net: str, size: int, steps: int) -> Contestant:
    """K input gradients with frozen parameters, one full pass, one step of AdamW."""
    trained, (x, y) = _model(net), _inputs(net, size)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=1e-3)

    def run() -> None:
        trained.eval().requires_grad_(False)
        z = x
        for _ in range(steps):
            z = z.detach().requires_grad_()
            (grad,) = torch.autograd.grad(F.cross_entropy(trained(z), y, reduction="sum"), z)
            with torch.no_grad():
                z = (z + 0.01 * grad.sign()).clamp(x - THREAT.eps, x + THREAT.eps).clamp(0, 1)
        trained.train().requires_grad_(True)
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(trained(z), y).backward()
        optimizer.step()

    return run, trained


def ours(net: str, size: int, method: hb.Method, index: int) -> Contestant:
    """Steps of one stage of a method, in its middle."""
    trained, (x, y) = _model(net), _inputs(net, size)
    stages = _stages(method, trained, net)
    for _ in range(index + 1):
        stage = next(stages)
    state, rng = stage.solver.init(stage.problem, trained), torch.Generator().manual_seed(1)

    def run() -> None:
        trained.train()
        stage.solver.step(stage.problem, trained, Batch(x, y, rng, PROGRESS), state)

    return run, trained


def _stages(method: hb.Method, trained: nn.Module, net: str) -> Iterator[Stage]:
    """The method's stages; each is left feasible before the next begins."""
    for stage in method.stages(trained, THREAT, Examples(*_inputs(net, 2))):
        yield stage
        state = stage.solver.init(stage.problem, trained)
        stage.solver.finish(stage.problem, trained, state)


def _inputs(net: str, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random images and labels."""
    _, channels, side = NETS[net]
    rng = torch.Generator().manual_seed(SEED)
    x = torch.rand(size, channels, side, side, generator=rng)
    y = torch.randint(0, CLASSES, (size,), generator=rng)
    return x.contiguous(memory_format=torch.channels_last), y


def _model(net: str) -> nn.Module:
    return hb.models.build(NETS[net][0], seed=SEED).to(memory_format=torch.channels_last)
