"""``Δ(x) = {x' : ‖x' − x‖_∞ ≤ eps}``: every pixel may change by eps."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from jaxtyping import Bool
from torch import Tensor

from hauberk.ops.balls import project_linf
from hauberk.ops.random import uniform_like
from hauberk.threat import Threat
from hauberk.threats.checks import check_radius, per_example, within
from hauberk.types import Images


@dataclass(frozen=True)
class Linf(Threat):
    """``‖x' − x‖_∞ ≤ eps`` inside the pixel box.

    Attributes:
        eps: radius in pixel units, in [0, 1].

    Raises:
        ValueError: for an eps outside [0, 1].
    """

    eps: float

    def __post_init__(self) -> None:
        check_radius("ℓ∞", self.eps, 1.0)

    def __str__(self) -> str:
        return f"linf:{self.eps}"

    def project(self, x_adv: Images, x: Images) -> Images:
        """``argmin ‖x' − x_adv‖₂  s.t.  ‖x' − x‖_∞ ≤ eps, 0 ≤ x' ≤ 1``."""
        return project_linf(x_adv, x, self.eps)

    def sample(self, x: Images, rng: torch.Generator) -> Images:
        """Uniform in the ball, then moved into the box."""
        return self.project(x + self.eps * (2 * uniform_like(x, rng) - 1), x)

    def steepest(self, grad: Images, sharpness: float = inf) -> Tensor:
        """``argmax ⟨s·ĝ, d⟩ − ½‖d‖₂²  s.t.  ‖d‖_∞ ≤ 1``: ``clamp(s·ĝ, −1, 1)``, or the sign."""
        if sharpness == inf:
            return grad.sign()
        mean = per_example(grad.abs().flatten(1).mean(1), grad)
        return (grad / torch.where(mean > 0, mean, 1)).mul_(sharpness).clamp_(-1, 1)

    def radius(self) -> float:
        """Eps."""
        return self.eps

    def scaled(self, factor: float) -> Linf:
        """``factor · eps``."""
        return Linf(self.eps * factor)

    def inside(self, x_adv: Images, x: Images) -> Bool[Tensor, " batch"]:
        """Where ``‖x_adv − x‖_∞ ≤ eps`` and ``0 ≤ x_adv ≤ 1``, up to float rounding."""
        return within((x_adv - x).abs(), self.eps, x_adv)
