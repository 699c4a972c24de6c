"""Losses for attacks on logits: the cross-entropy, or the margin of Carlini and Wagner.

    −log p_y,      min( max_{k ≠ y} f_k − f_y, κ )        κ = 0: it stops where the network is wrong

Source of the second: Carlini and Wagner, 2017, arXiv 1608.04644, f_6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from hauberk.types import Labels, PerSample

LogitLoss: TypeAlias = Callable[[Tensor, Labels], PerSample]
"""Logits and labels to one loss for each row."""


def cross_entropy(logits: Tensor, y: Labels) -> PerSample:
    """``−log softmax(f)_y``."""
    return F.cross_entropy(logits, y, reduction="none")


def margin(logits: Tensor, y: Labels) -> PerSample:
    """``max_{k ≠ y} f_k − f_y``: positive where the network is wrong."""
    own = F.one_hot(y, logits.shape[1]).bool()
    return logits.masked_fill(own, -torch.inf).amax(1) - logits[own]


def hinge(most: float = 0.0) -> LogitLoss:
    """``min(margin, κ)``: an image that is fooled by more than ``most`` has no gradient.

    Args:
        most: κ, at least 0, in units of logits.

    Raises:
        ValueError: a negative or NaN κ, at which no image need be fooled.
    """
    if not most >= 0:
        raise ValueError(f"The margin was given as {most}; give 0 or more.")
    return lambda logits, y: margin(logits, y).clamp(max=most)
