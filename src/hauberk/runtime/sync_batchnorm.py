"""Synchronised batch-norm: statistics over the whole batch of several processes.

Batch-norm: μ = Σ x / N,  σ² = Σ (x − μ)² / N over all processes' rows, both with their gradients.
torch's own synchronised layer needs CUDA and replaces the user's layer; this one only replaces its
``forward`` for a while. In eval mode, as under attack, nothing is sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hauberk.runtime.processes import Group


@contextmanager
def synchronised(model: nn.Module, group: Group) -> Iterator[None]:
    """Make layers in training mode use the batch of all processes, inside the context.

    These layers are batch-norms, and hauberk's modules that have a ``group``.
    """
    modules = list(model.modules()) if group.size > 1 else []
    norms = [m for m in modules if isinstance(m, _BatchNorm)]
    others = [m for m in modules if isinstance(getattr(m, "group", None), Group)]
    for norm in norms:
        norm.forward = partial(_forward, norm, group)  # type: ignore[method-assign]
    for m in others:
        m.__dict__["group"] = group
    try:
        yield
    finally:
        for m, name in [(m, "forward") for m in norms] + [(m, "group") for m in others]:
            del m.__dict__[name]


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is summed too, as every loss depends on it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        ctx.group = group
        total = x.clone()
        group.all_reduce_([total])
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        total = grads[0].clone()
        ctx.group.all_reduce_([total])
        return total, None


def _forward(norm: _BatchNorm, group: Group, x: Tensor) -> Tensor:
    if not norm.training and norm.track_running_stats:
        return type(norm).forward(norm, x)
    rest = [d for d in range(x.ndim) if d != 1]
    wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
    rows = wide.new_tensor([x.numel() / x.shape[1]])
    total = _sum(torch.cat([wide.sum(rest), rows]), group)
    count = total[-1].detach()
    mean = total[:-1] / count
    centred = wide - _along(mean, x)
    variance = _sum(centred.square().sum(rest), group) / count
    _update(norm, mean.detach(), variance.detach() * count / (count - 1).clamp_min(1))
    y = centred * _along(torch.rsqrt(variance + norm.eps), x)
    if norm.affine:
        y = y * _along(norm.weight, x) + _along(norm.bias, x)
    return y.to(x.dtype)


def _sum(x: Tensor, group: Group) -> Tensor:
    total = _Sum.apply(x, group)  # type: ignore[no-untyped-call]
    assert isinstance(total, Tensor)
    return total


def _along(t: Tensor, x: Tensor) -> Tensor:
    """Reshape one number per channel to broadcast over ``x``, (batch, channel, …)."""
    return t.view(1, -1, *[1] * (x.ndim - 2))


@torch.no_grad()
def _update(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Update the running statistics as torch does."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    rate = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), rate)
    norm.running_var.lerp_(variance.to(norm.running_var.dtype), rate)
