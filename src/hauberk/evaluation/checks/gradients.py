"""Checks of the input gradient: it must not vanish, and it must be a number.

Source: Carlini et al. (2019), arXiv 1902.06705, §4 and §5.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hauberk.evaluation.accuracy import cross_entropy, margin
from hauberk.evaluation.checks.check import Check
from hauberk.evaluation.subject import Subject
from hauberk.types import Images, SampleLoss

_ZERO = 0.01
"""Fraction of the correct examples that may have an input gradient of exactly zero."""


def gradients(subject: Subject) -> Check:
    """The input gradient of a correct example must be finite, and not exactly zero.

    Tested on the cross-entropy, which attacks climb, and on the margin, which cannot saturate. A
    component that is NaN or infinite counts as zero, as it does in every attack.
    """
    saturated, flat, broken = _vanished(subject)
    passed = max(saturated, flat, broken) <= _ZERO
    return Check.of(
        "gradients",
        passed,
        f"The gradient is exactly zero on {saturated:.1%} of the correct examples for the "
        f"cross-entropy and on {flat:.1%} for the margin, and NaN or infinite somewhere on "
        f"{broken:.1%}; at most {_ZERO:.0%} may be.",
        {"cross_entropy": saturated, "margin": flat, "not_finite": broken},
        "Attacks that follow it stand still, so PGD and AutoAttack's gradient steps say nothing; "
        "look for rounding, saturation or a detached value in the network.",
    )


def _vanished(subject: Subject) -> tuple[float, float, float]:
    """The fractions of the correct examples: zero for both losses, and not finite for either."""
    losses = cross_entropy, margin
    counts, total = [0, 0, 0], max(int(subject.clean.sum()), 1)
    for _, places in subject.in_batches(subject.clean):
        x, y = subject.examples.images(places), subject.examples.y[places]
        grads = [_raw(loss, subject.model.inner, x, y) for loss in losses]
        for i, grad in enumerate(grads):
            counts[i] += int((grad.nan_to_num(0.0, 0.0, 0.0) == 0).all(1).sum())
        counts[2] += int(torch.stack([~g.isfinite().all(1) for g in grads]).any(0).sum())
    return counts[0] / total, counts[1] / total, counts[2] / total


def _raw(
    loss: Callable[[nn.Module, Tensor], SampleLoss], net: nn.Module, x: Images, y: Tensor
) -> Tensor:
    """The gradient as the network gives it, (batch, pixel); zero where there is none."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        values = loss(lambda z: net(z).float(), y)(x)  # type: ignore[arg-type]
        if not values.requires_grad:
            return torch.zeros_like(x).flatten(1)
        (grad,) = torch.autograd.grad(values.sum(), x, allow_unused=True)
    return (torch.zeros_like(x) if grad is None else grad).flatten(1)
