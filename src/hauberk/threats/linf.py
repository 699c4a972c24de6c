"""``Δ(x) = {x' : ‖x' − x‖_∞ ≤ eps}``: every pixel may change by eps."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from hauberk.ops.balls import project_linf
from hauberk.ops.random import uniform_like
from hauberk.threats.checks import per_example
from hauberk.threats.norm_ball import NormBall
from hauberk.types import Images


@dataclass(frozen=True)
class Linf(NormBall):
    """``‖x' − x‖_∞ ≤ eps`` inside the pixel box.

    Attributes:
        eps: radius in pixel units, in [0, 1].

    Raises:
        ValueError: for an eps outside [0, 1].
    """

    SYMBOL = "ℓ∞"
    NAME = "linf"
    LARGEST = 1.0

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

    def lengths(self, delta: Images) -> Tensor:
        """``|delta|``, whose maximum is the norm."""
        return delta.abs()
