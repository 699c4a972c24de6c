"""The levels of eight bits, k/255: what a stored image can hold.

nearest(x) = round(255 x)/255,   toward(x', x) = the level next to x' on the side of x
"""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = 255
_SLACK = 1e-3
"""Part of a level by which float32 may miss one."""
_RADIUS_SLACK = 2e-5
"""The same of a radius, which is one number rounded once."""


def nearest(x: Tensor) -> Tensor:
    """The nearest image of eight bits.

    Args:
        x: pixels in [0, 1].
    """
    return (x * LEVELS).round() / LEVELS


def toward(x_adv: Tensor, x: Tensor) -> Tensor:
    """The image of eight bits next to ``x_adv`` that is no farther from ``x`` in any pixel.

    So it stays in every ball around an ``x`` of eight bits that ``x_adv`` is in.

    Args:
        x_adv: the points, in [0, 1].
        x: the centres, of the same shape.
    """
    scaled = x_adv * LEVELS
    down, up = (scaled + _SLACK).floor(), (scaled - _SLACK).ceil()
    return torch.where(x_adv > x, down, up) / LEVELS


def on_levels(x: Tensor) -> bool:
    """Whether all pixels are levels, up to float rounding."""
    return bool(((x * LEVELS) - (x * LEVELS).round()).abs().max() <= _SLACK)


def whole_radius(eps: float) -> float:
    """The largest radius of whole levels that is not above ``eps``, but for its rounding.

    Args:
        eps: a radius of the ℓ∞ ball.
    """
    return int(eps * LEVELS + _RADIUS_SLACK) / LEVELS
