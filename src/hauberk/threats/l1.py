"""``Δ(x) = {x' : ‖x' − x‖₁ ≤ eps}``: a few pixels may change much.

The steepest step in ℓ1 moves one pixel alone, and many steps would be needed. As in SLIDE (Tramèr
and Boneh, 2019, arXiv 1904.13000, algorithm 1) and APGD for ℓ1 (Croce and Hein, 2021, arXiv
2103.01208) it is spread over the pixels of largest gradient: it is the steepest one over
``‖d‖₁ ≤ 1, ‖d‖_∞ ≤ 1/k``. k is ⌊eps⌋, the number of pixels that the ball lets change from black
to white.

The gradient at small changes of many pixels does not predict the effect of large changes of few. A
long search therefore starts in larger balls, in which more pixels change fully, and shrinks to its
own ball, as in APGD.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from hauberk.ops.balls import project_l1
from hauberk.ops.random import uniform_like
from hauberk.threats.checks import per_example
from hauberk.threats.norm_ball import NormBall
from hauberk.types import Images

_WIDEST = 8.0
"""Radius of the first ball, in radii of the threat. On 200 images of MNIST at eps 8, PGD-40 that
starts in a ball 1, 4, 8 or 12 times as large leaves these correct: 62, 54, 39 and 28% for a LeNet
trained in ℓ∞; 80, 76, 77 and 78% for one trained in ℓ1. AutoAttack leaves 15 and 77% (100 other
images)."""

_ROOM = 1e-5
"""A pixel closer than this to the edge of the box cannot move."""


@dataclass(frozen=True)
class L1(NormBall):
    """``‖x' − x‖₁ ≤ eps`` inside the pixel box, per example.

    Attributes:
        eps: radius, in the ℓ1 norm of pixels in [0, 1]; at least 0.

    Raises:
        ValueError: for a negative, infinite or NaN eps.
    """

    SYMBOL = "ℓ1"
    NAME = "l1"

    def project(self, x_adv: Images, x: Images) -> Images:
        """``argmin ‖x' − x_adv‖₂  s.t.  ‖x' − x‖₁ ≤ eps, 0 ≤ x' ≤ 1``."""
        return project_l1(x_adv, x, self.eps)

    def sample(self, x: Images, rng: torch.Generator) -> Images:
        """Uniform in the ball, then moved into the box: no pixel gets further from ``x``.

        Exponential numbers over their sum are uniform on the simplex, and signs make it the sphere.
        """
        sizes = -torch.log1p(-uniform_like(x, rng))
        signs = torch.where(uniform_like(x, rng) < 0.5, -1.0, 1.0).to(x.dtype)
        total = per_example(sizes.flatten(1).sum(1), x).clamp_min(torch.finfo(x.dtype).tiny)
        reach = uniform_like(x.flatten(1)[:, 0], rng) ** (1 / x[0].numel())
        return (x + self.eps * per_example(reach, x) * signs * sizes / total).clamp(0, 1)

    def steepest(self, grad: Images, sharpness: float = inf) -> Tensor:
        """``argmax ⟨s·ĝ, d⟩ − ½‖d‖₂²  s.t.  ‖d‖₁ ≤ 1, ‖d‖_∞ ≤ 1/k``; k is ⌊eps⌋, at least 1.

        At infinity: ``sign / k`` on the k largest, zero elsewhere and where grad is.
        """
        k = min(max(1, int(self.eps)), grad[0].numel())
        if sharpness == inf:
            return _shared(grad, k)
        mean = per_example(grad.abs().flatten(1).mean(1), grad)
        scaled = grad / torch.where(mean > 0, mean, 1) * (0.5 * k * sharpness)
        grey = torch.full_like(grad, 0.5)  # around it the pixel box is |d| ≤ 1/k, in halves of k
        return (project_l1(grey + scaled, grey, 0.5 * k) - grey) * (2 / k)

    def step(self, grad: Images, at: Images, sharpness: float = inf) -> Images:
        """The steepest step over the pixels that can move: the step changes few, so all must count.

        Args:
            grad: gradient of the loss, shaped like the images.
            at: the point to step from, in [0, 1].
            sharpness: see `steepest`.
        """
        shut = ((grad > 0) & (at >= 1 - _ROOM)) | ((grad < 0) & (at <= _ROOM))
        return self.steepest(grad.masked_fill(shut, 0), sharpness)

    def approach(self, steps: int) -> tuple[NormBall, ...]:
        """Balls that shrink geometrically from eight times the radius towards it."""
        return tuple(self.scaled(_WIDEST ** (1 - i / steps)) for i in range(steps))

    def lengths(self, delta: Images) -> Tensor:
        """``‖delta‖₁``, (batch,)."""
        return delta.flatten(1).abs().sum(1)


def _shared(grad: Images, k: int) -> Tensor:
    """``sign(g) / k`` on the k largest of ``|g|``."""
    flat = grad.flatten(1)
    largest = flat.abs().topk(k, dim=1).indices
    step = torch.zeros_like(flat).scatter_(1, largest, flat.gather(1, largest).sign() / k)
    return step.view_as(grad)
