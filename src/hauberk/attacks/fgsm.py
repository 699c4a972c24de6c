"""One step from a random start (Goodfellow et al., 2015; Wong et al., 2020, arXiv 2001.03994).

x_adv = Π_Δ(x)( x₀ + α · steepest(∇ₓ loss(x₀)) ),  x₀ random in Δ(x),  α = 1.25 · radius
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hauberk.attack import Attack
from hauberk.attacks.pgd import PGD
from hauberk.threat import Threat
from hauberk.types import Images, SampleLoss


@dataclass(frozen=True)
class FGSM(Attack):
    """A single step of steepest ascent.

    Attributes:
        reach: the step, as a multiple of the threat's radius.
        random_start: start at a random point of the set (else at the clean image).
        track: return the best of clean image, start and end (see `PGD`).
    """

    reach: float = 1.25
    random_start: bool = True
    track: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if not self.reach > 0:
            raise ValueError(f"FGSM was given reach={self.reach}; give a positive multiple.")

    def search(
        self,
        loss: SampleLoss,
        x: Images,
        threat: Threat,
        rng: torch.Generator,
        start: Images | None = None,
    ) -> Images:
        """One step of `PGD`."""
        step = PGD(1, self.reach * threat.radius(), self.random_start, self.track)
        return step.search(loss, x, threat, rng, start)
