"""The tensor types that every package shares: images, labels, losses, trees of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from jaxtyping import Float, Int
from torch import Tensor

Images: TypeAlias = Float[Tensor, " batch *shape"]
"""Inputs in pixel units: every value in [0, 1]."""

Labels: TypeAlias = Int[Tensor, " batch"]
"""Class indices, int64."""

PerSample: TypeAlias = Float[Tensor, " batch"]
"""One value for each example of a batch."""

Scalar: TypeAlias = Float[Tensor, ""]

SampleLoss: TypeAlias = Callable[[Images], PerSample]
"""The function that an attack maximises: images to one loss per example."""

Weights: TypeAlias = Mapping[str, Tensor]
"""All weights of a network by name, so that a global budget is not a special case."""
