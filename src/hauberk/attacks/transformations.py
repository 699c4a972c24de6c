"""Transformations as domains: one image that fools the network however it is turned.

F_i(x') = loss(f(T_i(x')), y),   T_i a flip, a shift, a rotation, a change of brightness

Each T is a differentiable map from images in [0, 1] to such images; each T and image have a weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import cos, radians, sin
from typing import TypeAlias

import torch
from torch import nn
from torch.nn import functional as F

from hauberk.attacks.ensemble import ensemble
from hauberk.attacks.losses import LogitLoss, cross_entropy
from hauberk.attacks.minmax import DomainLoss
from hauberk.types import Images, Labels

Transform: TypeAlias = Callable[[Images], Images]
"""Images (batch, channel, height, width) in [0, 1] to such images, differentiable."""


def transformed(
    model: nn.Module,
    y: Labels,
    transforms: Sequence[Transform],
    loss: LogitLoss = cross_entropy,
) -> DomainLoss:
    """The loss of each image under each transformation.

    Args:
        model: to logits (batch, class), in the mode in which it is attacked.
        y: the true classes.
        transforms: include `unchanged` if the image itself should count.
        loss: what is raised.

    Raises:
        ValueError: no transformation.
    """
    if not transforms:
        raise ValueError("An attack over transformations was given none; give at least one.")

    return ensemble([nn.Sequential(Turned(turn), model) for turn in transforms], y, loss)


class Turned(nn.Module):
    """A transformation as a layer.

    Args:
        turn: the transformation.
    """

    def __init__(self, turn: Transform) -> None:
        super().__init__()
        self.turn = turn

    def forward(self, x: Images) -> Images:
        """The images, transformed."""
        return self.turn(x)


def unchanged(x: Images) -> Images:
    """The image itself."""
    return x


def flipped(x: Images) -> Images:
    """Mirrored, left to right."""
    return x.flip(-1)


def shifted(down: int, right: int) -> Transform:
    """Moved by whole pixels; what comes in is black."""

    def move(x: Images) -> Images:
        height, width = x.shape[-2:]
        padded = F.pad(x, (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0)))
        top, left = max(-down, 0), max(-right, 0)
        return padded[..., top : top + height, left : left + width]

    return move


def rotated(degrees: float) -> Transform:
    """Turned anticlockwise about the middle, bilinearly; what comes in is black."""
    c, s = cos(radians(degrees)), sin(radians(degrees))

    def turn(x: Images) -> Images:
        height, width = x.shape[-2:]  # the grid counts in halves of the sides, which may differ
        matrix = [[c, -s * height / width, 0.0], [s * width / height, c, 0.0]]
        theta = torch.tensor(matrix, dtype=x.dtype, device=x.device).expand(len(x), 2, 3)
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, align_corners=False).clamp(0, 1)

    return turn


def brighter(factor: float) -> Transform:
    """Every pixel times ``factor``, at most white; below 1 it is darker.

    Raises:
        ValueError: for a negative factor.
    """
    if not factor >= 0:
        raise ValueError(f"The brightness was given as {factor}; give a factor of 0 or more.")
    return lambda x: (x * factor).clamp(max=1)
