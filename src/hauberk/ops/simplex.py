"""Projection onto the probability simplex: ``argmin ½‖p − v‖²  s.t.  p ≥ 0, Σ p = 1``.

Source: Held, Wolfe, Crowder 1974; Duchi et al. 2008, "Efficient projections onto the ℓ1-ball",
algorithm 1.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def project_simplex(v: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows n"]:
    """``argmin ‖p − v‖  s.t.  p ≥ 0, Σ p = 1`` for each row: ``p = max(v − θ, 0)``, exactly.

    Args:
        v: any real numbers; the last axis is the simplex.
    """
    u = v - v.amax(-1, keepdim=True)  # p does not change with a shift; large v lose no digits
    u = u.sort(dim=-1, descending=True).values
    count = torch.arange(1, v.shape[-1] + 1, device=v.device, dtype=v.dtype)
    thetas = (u.cumsum(-1) - 1) / count
    support = (u > thetas).sum(-1, keepdim=True)  # at least 1: u₁ > u₁ − 1
    theta = thetas.gather(-1, support - 1)
    return (v - v.amax(-1, keepdim=True) - theta).clamp_min(0)
