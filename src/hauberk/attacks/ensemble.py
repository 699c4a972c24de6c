"""Several networks as domains: one image that fools them all.

F_i(x') = loss(f_i(x'), y),   one weight for each network and image; see `hauberk.attacks.minmax`

Min-max compares the losses of networks, and averages add them up, though the logits of different
networks have no unit in common: `in_one_unit` gives them one. Departure from Wang et al., 2021.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from hauberk.attack import input_gradient
from hauberk.attacks.losses import LogitLoss, cross_entropy, margin
from hauberk.attacks.minmax import DomainLoss
from hauberk.threat import Threat
from hauberk.types import Images, Labels


def ensemble(models: Sequence[nn.Module], y: Labels, loss: LogitLoss = cross_entropy) -> DomainLoss:
    """The loss of each network on each image.

    Args:
        models: to logits (batch, class), in the mode in which they are attacked.
        y: the true classes.
        loss: what is raised.

    Raises:
        ValueError: no network.
    """
    if not models:
        raise ValueError("An ensemble was given no network; give at least one.")

    def losses(x: Images) -> torch.Tensor:
        return torch.stack([loss(model(x).float(), y) for model in models], 1)

    return losses


def in_one_unit(
    models: Sequence[nn.Module], x: Images, y: Labels, threat: Threat
) -> list[nn.Module]:
    """The same networks, with logits so scaled that their margins change equally fast.

    A margin over ``s_i = mean max_{‖d‖ ≤ 1} ⟨∇ margin_i(x), d⟩`` is about how far, in the threat's
    norm, an image is from fooling the network: a distance, which can be compared. All come back at
    the mean steepness, so that rates for losses in nats stay what they are; answers do not change.

    Args:
        models: to logits (batch, class), in the mode in which they are attacked.
        x: images at which the steepness is looked at.
        y: the true classes.
        threat: whose norm is meant.
    """
    steepness = torch.stack([_steepness(model, x, y, threat) for model in models])
    scales = torch.where(steepness > 0, steepness.mean() / steepness, 1)
    return [Scaled(model, scale) for model, scale in zip(models, scales, strict=True)]


def _steepness(model: nn.Module, x: Images, y: Labels, threat: Threat) -> torch.Tensor:
    grad = input_gradient(lambda v: margin(model(v).float(), y), x)[1]
    return (grad * threat.steepest(grad)).flatten(1).sum(1).mean()


class Scaled(nn.Module):
    """A network's logits, times a number.

    Args:
        model: the network.
        scale: the number, positive.
    """

    scale: torch.Tensor

    def __init__(self, model: nn.Module, scale: torch.Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("scale", scale)  # goes where the network goes

    def forward(self, x: Images) -> torch.Tensor:
        """The scaled logits."""
        logits: torch.Tensor = self.model(x)
        return self.scale * logits
