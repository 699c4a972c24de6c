"""``Δ(x) = {x}``: no adversary, for natural training and for imitation."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from jaxtyping import Bool
from torch import Tensor

from hauberk.threat import Threat
from hauberk.types import Images


@dataclass(frozen=True)
class NoThreat(Threat):
    """The image itself is all that the adversary may give: training is natural."""

    def __str__(self) -> str:
        return "none"

    def project(self, x_adv: Images, x: Images) -> Images:
        """A copy of ``x``, the only point of the set."""
        return x.clone()

    def sample(self, x: Images, rng: torch.Generator) -> Images:
        """A copy of ``x``."""
        return x.clone()

    def steepest(self, grad: Images, sharpness: float = inf) -> Images:
        """Zero: nothing can move."""
        return torch.zeros_like(grad)

    def radius(self) -> float:
        """0."""
        return 0.0

    def scaled(self, factor: float) -> NoThreat:
        """The same set."""
        return self

    def inside(self, x_adv: Images, x: Images) -> Bool[Tensor, " batch"]:
        """A mask of the examples that are ``x``."""
        return (x_adv == x).flatten(1).all(1)
