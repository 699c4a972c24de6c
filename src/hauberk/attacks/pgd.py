"""Projected gradient ascent (Madry et al., 2018, arXiv 1706.06083).

x ← Π_Δ(x)( x + α_i · steepest(∇ₓ loss(x)) ),  started at a random point of Δ(x)

The sign, ℓ∞'s steepest direction, also moves the pixels that hardly matter, and a few long steps
end in a corner of the ball. Where a network has many linear pieces (max pooling) that loses most of
the attack; `PGD.soft` steps along the gradient itself, clipped, and falls as it goes.

Where a threat asks for it (`Threat.approach`; ℓ1 does), the first half of a long search comes from
outside: from a random point of a larger set, through smaller and smaller ones. What it asks about
there counts for nothing.
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
        approach: share of the steps that come from outside, where the threat asks for it and
            ``step_size`` is left out; none do without a random start.
    """

    steps: int = 10
    step_size: float | None = None
    random_start: bool = True
    track: bool = False
    reach: float = 2.5
    sharpness: float = inf
    falling: bool = False
    approach: float = 0.5

    @staticmethod
    def soft(steps: int, reach: float = 4.0) -> PGD:
        """For training, where steps are dear; in ℓ1, too, all are taken inside of the ball.

        On MNIST's LeNet at eps 76/255 four of these come within two points of eight signed ones,
        and eight within one of sixteen (benchmarks/speed/attack_steps.py).
        """
        return PGD(steps, reach=reach, sharpness=0.6, falling=True, approach=0.0)

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if self.steps < 0:
            raise ValueError(f"PGD was given steps={self.steps}; give 0 or more.")
        if self.step_size is not None and not self.step_size > 0:
            raise ValueError(
                f"PGD was given step_size={self.step_size}; give a positive "
                "length in pixel units, or leave it out for reach · radius / steps."
            )
        if not (self.reach > 0 and self.sharpness > 0):
            raise ValueError(
                f"PGD was given reach={self.reach}, sharpness={self.sharpness}; give positive ones."
            )
        if not 0 <= self.approach <= 1:
            raise ValueError(
                f"PGD was given approach={self.approach}; give a fraction of the steps, in [0, 1]."
            )

    def legs(self, threat: Threat) -> Sequence[PGD]:
        """Of one that tracks: pieces of a few steps that walk the same path, or it in one piece."""
        if not self.track:
            return ()
        if self.falling or self.steps <= _LEG or not threat.radius():
            return (self,)
        alpha, outside = self._step(threat), self._outside(threat)
        way = [replace(self, steps=outside, approach=1.0, track=False)] if outside else []
        left = self.steps - outside
        pieces = [min(_LEG, left - done) for done in range(0, left, _LEG)]
        return way + [replace(self, steps=n, step_size=alpha, track=False) for n in pieces]

    def search(
        self,
        loss: SampleLoss,
        x: Images,
        threat: Threat,
        rng: torch.Generator,
        start: Images | None = None,
    ) -> Images:
        """The iterates themselves."""
        alpha, x_adv, steps = self._step(threat), start, self.steps
        best = _Best(x, loss(x)) if self.track else None
        if x_adv is None and self._outside(threat):
            x_adv = self._from_outside(loss, x, threat, rng)
            steps -= self._outside(threat)
        elif x_adv is None:
            x_adv = threat.sample(x, rng) if self.random_start else x
        for i in range(steps):
            values, grad = input_gradient(loss, x_adv)
            if best is not None:
                best.see(x_adv, values)
            share = 2 * (steps - i) / (steps + 1) if self.falling else 1
            step = threat.step(grad, x_adv, self.sharpness)
            x_adv = threat.project(x_adv.add(step, alpha=alpha * share), x)
        if best is None:
            return x_adv
        best.see(x_adv, loss(x_adv))
        return best.x

    def _from_outside(
        self, loss: SampleLoss, x: Images, threat: Threat, rng: torch.Generator
    ) -> Images:
        """Where steps as long as the radius end, in sets that shrink geometrically.

        What has gone as far as the box lets it is pushed on: in a smaller set it is then kept.
        """
        larger = threat.approach(self._outside(threat))
        x_adv = larger[0].sample(x, rng)
        for around in larger:
            x_adv = around.project(x_adv, x)
            step = around.step(input_gradient(loss, x_adv)[1], x, self.sharpness)
            x_adv = x_adv.add(step, alpha=around.radius())
        return threat.project(x_adv, x)

    def _outside(self, threat: Threat) -> int:
        """Steps that come from outside."""
        if not self.random_start or self.step_size is not None:
            return 0
        return len(threat.approach(round(self.approach * self.steps)))

    def _step(self, threat: Threat) -> float:
        steps = self.steps - self._outside(threat)
        return self.step_size or self.reach * threat.radius() / max(steps, 1)


class _Best:
    """The point of highest loss seen so far, for each example."""

    def __init__(self, x: Images, values: PerSample) -> None:
        self.x, self.values = x, values

    def see(self, x: Images, values: PerSample) -> None:
        better = values > self.values
        self.x = torch.where(better.view(-1, *[1] * (x.ndim - 1)), x, self.x)
        self.values = torch.where(better, values, self.values)
