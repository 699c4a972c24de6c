"""Several inputs as domains: one perturbation that fools the network on them all.

F_i(δ) = loss(f(clip(x_i + δ)), y_i),   ‖δ‖_p ≤ eps,   one weight for each input

The set of δ is the threat's ball around grey, all halved: where pixels are in [0, 1], δ is in
[−1, 1]. The clip lets gradients by, as it must: what is black in one input is not in others.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hauberk.attacks.losses import LogitLoss, cross_entropy
from hauberk.attacks.minmax import DomainLoss, Fooled, MinMaxPGD
from hauberk.ops.straight_through import through
from hauberk.threat import Threat
from hauberk.types import Images, Labels


def universal(
    model: nn.Module, x: Images, y: Labels, loss: LogitLoss = cross_entropy
) -> DomainLoss:
    """The loss on each input, of each perturbation δ, given as ``1/2 + δ/2``.

    Args:
        model: to logits (batch, class), in the mode in which it is attacked.
        x: the inputs that share a perturbation.
        y: their classes.
        loss: what is raised.
    """

    def losses(grey: Images) -> torch.Tensor:
        moved = x[None] + _delta(grey)[:, None]  # every input by every perturbation
        clipped = through(moved, moved.detach().clamp(0, 1)).flatten(0, 1)
        return loss(model(clipped).float(), y.repeat(len(grey))).view(len(grey), len(x))

    return losses


def perturbation(
    search: MinMaxPGD,
    model: nn.Module,
    x: Images,
    y: Labels,
    threat: Threat,
    rng: torch.Generator,
    loss: LogitLoss = cross_entropy,
) -> tuple[Float[Tensor, " 1 *shape"], Fooled]:
    """One δ for all inputs, (1, *shape), and what the search ended with.

    Args:
        search: how.
        model: as in `universal`, and so are x, y and loss.
        x: the inputs.
        y: their classes.
        threat: a ball around each input, of which δ keeps the norm; inputs are clipped to the box.
        rng: source of the random start.
        loss: what is raised.
    """
    grey = torch.full_like(x[:1], 0.5)
    found = search(universal(model, x, y, loss), grey, threat.scaled(0.5), rng)
    return _delta(found.x), found


def _delta(grey: Images) -> Images:
    return 2 * (grey - 0.5)
