"""The probability simplex: its projection, and the player that weights the worst losses.

    argmin ½‖p − v‖²  s.t.  p ≥ 0, Σ p = 1;     argmax_w ⟨w, F⟩ − γ/2 ‖w − 1/K‖², a step towards it

Sources: Held, Wolfe, Crowder 1974; Duchi et al. 2008, "Efficient projections onto the ℓ1-ball",
algorithm 1; Wang et al., 2021, arXiv 1906.03563, for the player.
"""

from __future__ import annotations

from math import inf

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


@torch.no_grad()
def ascend(
    w: Float[Tensor, "*rows n"], values: Float[Tensor, "*rows n"], rate: float, gamma: float
) -> Float[Tensor, "*rows n"]:
    """``argmax_p ⟨p, F⟩ − γ/2 ‖p − 1/n‖² − 1/(2b) ‖p − w‖²`` on the simplex, for each row.

    ``p = Π( (w/b + F + γ/n) / (1/b + γ) )``. Departure: the source steps explicitly,
    ``Π(w + b (F − γ (w − 1/n)))``, which has the same fixed points, is the same at γ = 0, and
    swings for ``b γ > 2``; here the γ term is taken where the step ends: any γ and b may be given.

    Args:
        w: the weights so far, on the simplex.
        values: F, the loss of each threat.
        rate: b > 0; at infinity the maximum itself, wherever ``w`` was.
        gamma: γ ≥ 0; at infinity the weights are equal.
    """
    n = w.shape[-1]
    stiffness = 1 / rate + gamma
    if stiffness == 0:
        return torch.nn.functional.one_hot(values.argmax(-1), n).to(w)
    if stiffness == inf:
        return torch.full_like(w, 1 / n)
    return project_simplex((w / rate + values + gamma / n) / stiffness)


def check_player(rate: float, gamma: float) -> None:
    """Validate the settings of `ascend`.

    Raises:
        ValueError: γ is negative or the rate is not positive.
    """
    if not gamma >= 0:
        raise ValueError(
            f"gamma was given as {gamma}; give 0 (all weight may go to the worst threat) or more."
        )
    if not rate > 0:
        raise ValueError(f"The rate of the weights was given as {rate}; give a positive one.")
