"""Projected gradient ascent (Madry et al., 2018, arXiv 1706.06083).

x ← Π_Δ(x)( x + α · steepest(∇ₓ loss(x)) ),  started at a random point of Δ(x)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hauberk.attack import Attack, input_gradient
from hauberk.threat import Threat
from hauberk.types import Images, PerSample, SampleLoss


@dataclass(frozen=True)
class PGD(Attack):
    """``steps`` projected steps of steepest ascent.

    Attributes:
        steps: gradient steps; 0 returns the start.
        step_size: length of a step in the threat's own norm and pixel units;
            ``None`` is reach · radius / steps, which follows the threat while it warms up.
        random_start: start at a random point of the set (else at the clean image).
        reach: length of the whole path in radii, where ``step_size`` is left out; 2.5 crosses the
            set from any start.
        track: return the best point seen, the clean image included, at the price of two more
            forward passes; without it the last iterate is returned, as in training.
    """

    steps: int = 10
    step_size: float | None = None
    random_start: bool = True
    track: bool = False
    reach: float = 2.5

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if self.steps < 0:
            raise ValueError(f"PGD was given steps={self.steps}; give 0 or more.")
        if self.step_size is not None and not self.step_size > 0:
            raise ValueError(
                f"PGD was given step_size={self.step_size}; give a positive length in pixel "
                "units, or leave it out for reach · radius / steps."
            )

    def search(self, loss: SampleLoss, x: Images, threat: Threat, rng: torch.Generator) -> Images:
        """The iterates themselves."""
        alpha = self.step_size or self.reach * threat.radius() / max(self.steps, 1)
        x_adv = threat.sample(x, rng) if self.random_start else x
        best = _Best(x, loss(x)) if self.track else None
        for _ in range(self.steps):
            values, grad = input_gradient(loss, x_adv)
            if best is not None:
                best.see(x_adv, values)
            x_adv = threat.project(x_adv.add(threat.steepest(grad), alpha=alpha), x)
        if best is None:
            return x_adv
        best.see(x_adv, loss(x_adv))
        return best.x


class _Best:
    """The point of highest loss seen so far, for each example."""

    def __init__(self, x: Images, values: PerSample) -> None:
        self.x, self.values = x, values

    def see(self, x: Images, values: PerSample) -> None:
        better = values > self.values
        self.x = torch.where(better.view(-1, *[1] * (x.ndim - 1)), x, self.x)
        self.values = torch.where(better, values, self.values)
