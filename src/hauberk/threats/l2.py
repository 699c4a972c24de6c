"""``Δ(x) = {x' : ‖x' − x‖₂ ≤ eps}``: a budget of energy, spent on any pixels."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from hauberk.ops.balls import project_l2
from hauberk.ops.random import normal_like, uniform_like
from hauberk.threats.checks import per_example
from hauberk.threats.norm_ball import NormBall
from hauberk.types import Images


@dataclass(frozen=True)
class L2(NormBall):
    """``‖x' − x‖₂ ≤ eps`` inside the pixel box, per example.

    Attributes:
        eps: radius, in the ℓ2 norm of pixels in [0, 1]; at least 0.

    Raises:
        ValueError: for a negative, infinite or NaN eps.
    """

    SYMBOL = "ℓ2"
    NAME = "l2"

    def project(self, x_adv: Images, x: Images) -> Images:
        """``argmin ‖x' − x_adv‖₂  s.t.  ‖x' − x‖₂ ≤ eps, 0 ≤ x' ≤ 1``."""
        return project_l2(x_adv, x, self.eps)

    def sample(self, x: Images, rng: torch.Generator) -> Images:
        """Uniform in the ball, then moved into the box: no pixel gets further from ``x``."""
        direction = self.steepest(normal_like(x, rng))
        n = x[0].numel()
        fraction = uniform_like(x.flatten(1)[:, 0], rng) ** (1 / n)
        return (x + self.eps * direction * per_example(fraction, x)).clamp(0, 1)

    def steepest(self, grad: Images, sharpness: float = inf) -> Tensor:
        """``argmax ⟨grad, d⟩  s.t.  ‖d‖₂ ≤ 1``: ``grad / ‖grad‖₂``, zero where grad is.

        The sharpness has no effect from 1/√n on (n pixels): ``s·ĝ`` is then longer than 1.
        """
        flat = grad.flatten(1)
        peak = per_example(flat.abs().amax(1), grad)  # a tiny gradient squared would be zero
        scaled = grad / torch.where(peak > 0, peak, 1)
        norm = per_example(scaled.flatten(1).norm(dim=1), grad)
        return scaled / norm.clamp_min(1)  # ≥ 1 wherever the gradient is not zero

    def lengths(self, delta: Images) -> Tensor:
        """``‖delta‖₂``, (batch,)."""
        norms: Tensor = delta.flatten(1).norm(dim=1)
        return norms
