"""One step from a random start (Goodfellow et al., 2015; Wong et al., 2020, arXiv 2001.03994).

x_adv = Π_Δ(x)( x₀ + α · steepest(∇ₓ loss(x₀)) ),  x₀ random in Δ(x),  α = 1.25 · radius
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hauberk.attacks.pgd import PGD


@dataclass(frozen=True)
class FGSM(PGD):
    """A single step of steepest ascent: `PGD` with one step of 1.25 radii."""

    steps: int = field(default=1, init=False)
    reach: float = 1.25
