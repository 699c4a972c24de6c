"""Saliency of channels: how much a network's outputs depend on the scale of each.

    F_g = E_x E_ε ( Σ_{i ∈ g} γ_i ∂(εᵀ f(x)) / ∂γ_i )²,   ε a random sign for each output

Source: Fisher pruning (Theis et al., 2018, arXiv 1801.05787), for the mean squared error to the
network's own outputs, whose gradient is zero at the start and therefore says nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hauberk.ops.ties import Families, join
from hauberk.types import Images

_AT_A_TIME = 4
"""Images whose gradients are taken together."""
_LEAST = 1e-6
"""The least saliency, relative to the mean: dead channels have none."""


def rarity(model: nn.Module, ties: Families, images: Images) -> dict[str, Tensor]:
    """The mean saliency of each family over that of each of its groups, (groups,).

    Args:
        model: is not changed.
        ties: names of scales that share their groups.
        images: (batch, channel, height, width); the network's outputs for them are looked at.
    """
    twin = copy.deepcopy(model).eval()  # batch-norm's statistics stay, in a resumed run too
    every = dict(twin.named_parameters())
    scales = {name: every[name] for tie in ties for name in tie}
    total: dict[str, Tensor] = {}
    for grads in _gradients(twin, scales, images):
        moved = {name: every[name].detach() * grads[name] for name in scales}
        for name, t in join(moved, ties).items():
            squared = t.reshape(len(t), -1).sum(1).square()
            total[name] = total.get(name, torch.zeros_like(squared)) + squared
    shares = {name: (t / t.mean()).clamp_min(_LEAST) for name, t in total.items()}
    return {name: 1 / share for name, share in shares.items()}


def _gradients(
    model: nn.Module, scales: dict[str, nn.Parameter], images: Images
) -> Iterator[dict[str, Tensor]]:
    rng, device = torch.Generator().manual_seed(0), next(iter(scales.values())).device
    for x in torch.split(images, _AT_A_TIME):
        output = model(x.to(device))
        signs = torch.randint(2, output.shape, generator=rng).mul(2).sub(1).to(output)
        grads = torch.autograd.grad((signs * output).sum(), list(scales.values()))
        yield dict(zip(scales, grads, strict=True))
