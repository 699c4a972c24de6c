"""Euclidean projection onto a norm ball around each image, inside the pixel box.

    argmin_{x'} ½ ‖x' − v‖₂²   s.t.   ‖x' − x‖_p ≤ eps,  0 ≤ x' ≤ 1        (p = ∞, 2, 1)

With δ = x' − x, d = v − x and b_i the room that the box leaves in the direction of d_i, the KKT
conditions give |δ_i| = min(shrink(|d_i|), b_i) and the sign of d_i, where one multiplier per
example fixes the shrinkage; each function below finds that multiplier exactly. All of them take
``x`` in [0, 1] and treat every example of the batch on its own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hauberk.types import Images


@torch.no_grad()
def project_linf(v: Images, x: Images, eps: float) -> Images:
    """``argmin ‖x' − v‖₂  s.t.  ‖x' − x‖_∞ ≤ eps, 0 ≤ x' ≤ 1``: two clamps.

    Args:
        v: the points to project, batch first.
        x: the centres, in [0, 1].
        eps: radius in pixel units.
    """
    return torch.minimum(torch.maximum(v, x - eps), x + eps).clamp_(0, 1)


@torch.no_grad()
def project_l2(v: Images, x: Images, eps: float) -> Images:
    """``argmin ‖x' − v‖₂  s.t.  ‖x' − x‖₂ ≤ eps, 0 ≤ x' ≤ 1``: ``|δ_i| = min(s |d_i|, b_i)``.

    The scale is ``s(A) = √((eps² − Σ_A b²) / Σ_{∉A} d²)``, capped at 1, with A the coordinates
    that the box clips at the solution s*. Start with A empty. If A ⊆ A* then s(A) ≤ s*, because
    b_i ≤ s*|d_i| on A* \\ A; so whatever is clipped at s(A) is in A*. A therefore only grows and
    never leaves A*: the loop ends after at most n rounds (three to six in practice) with s = s*.

    Args:
        v: the points to project, batch first.
        x: the centres, in [0, 1].
        eps: radius in the units of the ℓ2 norm of pixels.
    """
    d, b = _directions(v, x)
    size = d.abs()
    inside = torch.zeros_like(d, dtype=torch.bool)  # where the box clips: A
    while True:
        room = (eps**2 - (b.square() * inside).sum(1)).clamp_min_(0)
        free = (size.square() * ~inside).sum(1)
        s = (room / free).sqrt_().nan_to_num_(nan=1.0, posinf=1.0).clamp_(max=1)
        clipped = inside | (s[:, None] * size > b)
        if torch.equal(clipped, inside):
            return _apply(x, d, torch.minimum(s[:, None] * size, b))
        inside = clipped


@torch.no_grad()
def project_l1(v: Images, x: Images, eps: float) -> Images:
    """``argmin ‖x' − v‖₂  s.t.  ‖x' − x‖₁ ≤ eps, 0 ≤ x' ≤ 1``: ``|δ_i| = min((|d_i| − λ)₊, b_i)``.

    ``ψ(λ) = Σ |δ_i|`` falls piecewise linearly; coordinate i gives slope −1 between
    ``(|d_i| − b_i)₊`` and ``|d_i|``. Sorting these 2n breakpoints gives ψ at each of them, and the
    segment that crosses eps gives λ exactly. Float64 inside: the sums cancel.

    Args:
        v: the points to project, batch first.
        x: the centres, in [0, 1].
        eps: radius in the units of the ℓ1 norm of pixels.
    """
    d, b = _directions(v, x)
    size, room = d.abs().double(), b.double()
    starts = (size - room).clamp_min(0)
    at, order = torch.cat([starts, size], 1).sort(dim=1)
    turn = torch.cat([torch.ones_like(size), -torch.ones_like(size)], 1).gather(1, order)
    slope = turn.cumsum(1)  # how many coordinates shrink just above each breakpoint
    widths = at.diff(dim=1)
    fall = torch.nn.functional.pad((slope[:, :-1] * widths).cumsum(1), (1, 0))
    excess = torch.minimum(size, room).sum(1, keepdim=True) - eps  # ψ(0) − eps
    last = (torch.searchsorted(fall, excess.clamp_min(0), right=True) - 1).clamp_min(0)
    past = excess.clamp_min(0) - fall.gather(1, last)
    lam = at.gather(1, last) + past / slope.gather(1, last).clamp_min(1)
    lam = torch.where(excess > 0, lam, 0.0)
    return _apply(x, d, torch.minimum((size - lam).clamp_min(0), room).to(d.dtype))


def _directions(v: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """``d = v − x`` and the room ``b`` that the box leaves along it, as batch × n."""
    d = (v - x).flatten(1)
    flat = x.flatten(1)
    return d, torch.where(d > 0, 1 - flat, flat)


def _apply(x: Tensor, d: Tensor, moved: Tensor) -> Tensor:
    return (x + torch.copysign(moved, d).view_as(x)).clamp_(0, 1)  # the clamp only undoes rounding
