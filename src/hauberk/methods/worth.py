"""What an error in a layer's weights costs the loss: Δf ≈ ½ Σ_i F_i Δw_i², F the diagonal Fisher.

s_l² = ½ Σ_i F_i w_i² / Σ_i w_i²,   F_i = E[(∂f/∂w_i)²] over examples
One number for each layer, for it has to weigh layers against each other; within a layer magnitudes
decide. The larger weights count more, for rounding moves them, not the small ones. Source: Optimal
Brain Damage (LeCun, Denker, Solla, 1990), with the Fisher information for the Hessian.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hauberk.ops.random import generator
from hauberk.problem import Objective
from hauberk.types import Batch, Examples

_BATCH = 8
"""Examples whose mean gradient is squared: times 8, that is the Fisher's mean where noise rules."""


def worth(
    objective: Objective, model: nn.Module, sample: Examples, names: Sequence[str]
) -> dict[str, float]:
    """``s_l²`` of the named parameters, in loss per squared weight.

    Args:
        objective: what is minimised, its attack included.
        model: at the weights in question; it is left untouched, but for ``requires_grad``.
        sample: a few hundred training examples.
        names: of its parameters.
    """
    every = dict(model.named_parameters())
    chosen = [every[name] for name in names]
    sums = [torch.zeros_like(p) for p in chosen]
    place, training = chosen[0].device, model.training
    model.eval()
    for start in range(0, len(sample), _BATCH):
        part = slice(start, start + _BATCH)
        x, y = sample.images(part).to(place), sample.y[part].to(place)
        batch = Batch(x, y, generator(0, "worth", start, device=place))
        found = torch.autograd.grad(objective(model, batch).value, chosen)
        torch._foreach_addcmul_(sums, found, found, value=len(y) / len(sample) * _BATCH)
    model.train(training)
    return {name: _mean(f, p.detach()) for name, f, p in zip(names, sums, chosen, strict=True)}


def _mean(fisher: Tensor, w: Tensor) -> float:
    energy = w.double().square()
    return 0.5 * float((fisher * energy).sum() / energy.sum().clamp_min(1e-300))
