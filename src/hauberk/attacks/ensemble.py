"""Several networks as domains: one image that fools them all.

F_i(x') = loss(f_i(x'), y),   one weight for each network and image; see `hauberk.attacks.domains`
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from hauberk.attacks.domains import DomainLoss
from hauberk.attacks.losses import LogitLoss, cross_entropy
from hauberk.types import Images, Labels


def ensemble(models: Sequence[nn.Module], y: Labels, loss: LogitLoss = cross_entropy) -> DomainLoss:
    """The loss of each network on each image.

    Args:
        models: to logits (batch, class), in the mode that they shall be attacked in.
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
