"""Euclidean projection onto a norm ball around each image, inside the pixel box.

    argmin_{x'} ½ ‖x' − v‖₂²   s.t.   ‖x' − x‖_p ≤ eps,  0 ≤ x' ≤ 1        (p = ∞, 2, 1)

With δ = x' − x, d = v − x and b_i the room that the box leaves in the direction of d_i, the KKT
conditions give |δ_i| = min(shrink(|d_i|), b_i) and the sign of d_i, where one multiplier per
example fixes the shrinkage; each function below finds that multiplier exactly. All of them take
``x`` in [0, 1] and treat every example of the batch on its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.ops.ascending import ascending
from hauberk.types import Images

_LOOKS = 32
"""Breakpoints of each row that are evaluated together to bracket λ."""
_STEPS, _HALVING = 250, 5
"""The most steps towards λ; every fifth one halves, and 50 halvings find λ to the last digit."""
_EXACT = 1e-14
"""Rounding error of float64 sums, relative to Σ |d_i|: a smaller |ψ(λ) − eps| counts as zero. This
ends the search also where ψ is flat or has a kink, as when the box clips enough coordinates to fill
the ball."""


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

    ``ψ(λ) = Σ |δ_i| = Σ (|d_i| − λ)₊ − Σ (|d_i| − b_i − λ)₊`` falls piecewise linearly; with both
    kinds of breakpoints sorted, prefix sums give it anywhere in O(log n). Newton's method
    finds λ, with a halving where a step would leave the bracket. The step from the piece that
    crosses eps is exact, so a few steps suffice. Computed in float64, because the sums cancel.

    Args:
        v: the points to project, batch first.
        x: the centres, in [0, 1].
        eps: radius in the units of the ℓ1 norm of pixels.
    """
    d, b = _directions(v, x)
    size, room = d.abs().double(), b.double()
    inside = torch.minimum(size, room).sum(1, keepdim=True) <= eps
    falls, rests = _Hinges.of(size.clone()), _Hinges.of(size - room)
    low, high = _around(falls, rests, eps)
    lam, came = low, torch.full_like(low, -1).repeat(1, 2)
    for number in range(1, _STEPS + 1):
        (falling, above), (resting, less) = falls.beyond(lam), rests.beyond(lam)
        piece = torch.cat([falling, resting], 1)
        slope, over = falling - resting, above - less - eps
        met = (over - slope * lam).abs() <= _EXACT * falls.sums[:, -1:]
        settled = inside | met | (piece == came).all(1, keepdim=True)
        if bool(settled.all()):
            break
        low = torch.where(over > slope * lam, lam, low)
        high = torch.where(over > slope * lam, high, lam)
        newton = over / slope
        known = (newton >= low) & (newton <= high)
        if number % _HALVING == 0:  # Newton alone could cycle
            known = newton == lam
        lam = torch.where(settled, lam, torch.where(known, newton, (low + high) / 2))
        came = torch.where(known, piece, -1)
    lam = torch.where(inside, 0, lam)
    return _apply(x, d, torch.minimum((size - lam).clamp_min(0), room).to(d.dtype))


def _around(falls: _Hinges, rests: _Hinges, eps: float) -> tuple[Tensor, Tensor]:
    """The breakpoints on both sides of λ, with 0 and a value above all as the outermost."""
    first, last = torch.zeros_like(falls.at[:, :1]), 2 * falls.at[:, -1:] + 1
    some = falls.at[:, :: -(-falls.at.shape[1] // _LOOKS)]
    at = torch.cat([first, some, last], 1)
    (falling, above), (resting, less) = falls.beyond(at), rests.beyond(at)
    over = above - less - (falling - resting) * at > eps
    below = (over.sum(1, keepdim=True) - 1).clamp_min(0)
    return at.gather(1, below), at.gather(1, below + 1)


@dataclass(frozen=True)
class _Hinges:
    """``Σ (t_i − λ)₊`` for each row of t, at any λ.

    Attributes:
        at: t, ascending.
        sums: of all up to each.
    """

    at: Tensor
    sums: Tensor

    @staticmethod
    def of(t: Tensor) -> _Hinges:
        """Sort and sum each row; may overwrite ``t``."""
        at = ascending(t)
        return _Hinges(at, at.cumsum(1))

    def beyond(self, lam: Tensor) -> tuple[Tensor, Tensor]:
        """The number of entries of each row above λ, and their sum."""
        below = torch.searchsorted(self.at, lam, right=True)
        up_to = torch.where(below > 0, self.sums.gather(1, (below - 1).clamp_min(0)), 0)
        return self.at.shape[1] - below, self.sums[:, -1:] - up_to


def _directions(v: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """``d = v − x`` and the room ``b`` that the box leaves along it, as batch × n."""
    d = (v - x).flatten(1)
    flat = x.flatten(1)
    return d, torch.where(d > 0, 1 - flat, flat)


def _apply(x: Tensor, d: Tensor, moved: Tensor) -> Tensor:
    return (x + torch.copysign(moved, d).view_as(x)).clamp_(0, 1)  # the clamp only undoes rounding
