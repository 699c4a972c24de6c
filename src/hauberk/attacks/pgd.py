"""Projected gradient ascent (Madry et al., 2018, arXiv 1706.06083).

x ← Π_Δ(x)( x + α_i · steepest(∇ₓ loss(x)) ),  started at a random point of Δ(x)

The sign, ℓ∞'s steepest direction, also moves the pixels that hardly matter, and a few long steps
end in a corner of the ball. Where a network has many linear pieces (max pooling) that loses most of
the attack; `PGD.soft` steps along the gradient itself, clipped, and falls as it goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import torch

from hauberk.attack import Attack, input_gradient
from hauberk.threat import Threat
from hauberk.types import Images, PerSample, SampleLoss

_LEG = 5
"""Steps between two looks at who is fooled: dropping examples costs a copy of the others."""


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
            forward passes, and let each of them count in an evaluation; without it the last iterate
            is returned, as in training and in most papers.
        sharpness: of a step, see `Threat.steepest`; infinity is the sign.
        falling: the steps fall linearly, and their sum is what ``steps`` equal ones would give.
    """

    steps: int = 10
    step_size: float | None = None
    random_start: bool = True
    track: bool = False
    reach: float = 2.5
    sharpness: float = inf
    falling: bool = False

    @staticmethod
    def soft(steps: int, reach: float = 4.0) -> PGD:
        """For training, where steps are dear; it starts from the clean image.

        On MNIST's LeNet at eps 76/255 four of these do what eight signed ones do, and eight what
        forty do (benchmarks/speed/attack_steps.py).
        """
        return PGD(steps, reach=reach, random_start=False, sharpness=0.6, falling=True)

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if self.steps < 0:
            raise ValueError(f"{type(self).__name__} was given steps={self.steps}; give 0 or more.")
        if self.step_size is not None and not self.step_size > 0:
            raise ValueError(
                f"{type(self).__name__} was given step_size={self.step_size}; give a positive "
                "length in pixel units, or leave it out for reach · radius / steps."
            )
        if not (self.reach > 0 and self.sharpness > 0):
            raise ValueError(
                f"{type(self).__name__} was given reach={self.reach}, sharpness={self.sharpness}; "
                "give positive ones."
            )

    def legs(self, threat: Threat) -> Sequence[PGD]:
        """Of one that tracks: pieces of a few steps that walk the same path, or it in one piece."""
        if not self.track:
            return ()
        if self.falling or self.steps <= _LEG:
            return (self,)
        pieces = [min(_LEG, self.steps - done) for done in range(0, self.steps, _LEG)]
        alpha = self._step(threat)
        return [replace(self, steps=n, step_size=alpha, track=False) for n in pieces]

    def search(
        self,
        loss: SampleLoss,
        x: Images,
        threat: Threat,
        rng: torch.Generator,
        start: Images | None = None,
    ) -> Images:
        """The iterates themselves."""
        alpha = self._step(threat)
        x_adv = start
        if x_adv is None:
            x_adv = threat.sample(x, rng) if self.random_start else x
        best = _Best(x, loss(x)) if self.track else None
        for i in range(self.steps):
            values, grad = input_gradient(loss, x_adv)
            if best is not None:
                best.see(x_adv, values)
            share = 2 * (self.steps - i) / (self.steps + 1) if self.falling else 1
            step = threat.step(grad, x_adv, self.sharpness)
            x_adv = threat.project(x_adv.add(step, alpha=alpha * share), x)
        if best is None:
            return x_adv
        best.see(x_adv, loss(x_adv))
        return best.x

    def _step(self, threat: Threat) -> float:
        return self.step_size or self.reach * threat.radius() / max(self.steps, 1)


class _Best:
    """The point of highest loss seen so far, for each example."""

    def __init__(self, x: Images, values: PerSample) -> None:
        self.x, self.values = x, values

    def see(self, x: Images, values: PerSample) -> None:
        better = values > self.values
        self.x = torch.where(better.view(-1, *[1] * (x.ndim - 1)), x, self.x)
        self.values = torch.where(better, values, self.values)
