"""The words every room shares: what an image, a label, a weight tree and a batch are."""

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
"""One number for each example of a batch."""

Scalar: TypeAlias = Float[Tensor, ""]

SampleLoss: TypeAlias = Callable[[Images], PerSample]
"""The function an attack maximises: images to one loss per example."""

Weights: TypeAlias = Mapping[str, Tensor]
"""The whole named tree of weights, always: a global budget is then no special case."""
