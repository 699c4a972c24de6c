"""Projected gradient ascent (Madry et al., 2018, arXiv 1706.06083).

x ← Π_Δ(x)( x + α_i · steepest(∇ₓ loss(x)) ),  started at a random point of Δ(x)

The sign, the steepest direction of ℓ∞, also moves pixels that hardly matter, and a few long steps
end in a corner of the ball. For networks with many linear pieces (max pooling) that weakens the
attack; `PGD.soft` steps along the clipped gradient itself, with falling step sizes.

If a threat has an `approach` (ℓ1 does), the first half of a long search comes from outside: from a
random point of a larger set, through ever smaller ones. Points outside of the threat do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import torch

from hauberk.attack import Attack, Maximisation, input_gradient
from hauberk.threat import Threat
from hauberk.types import Images, PerSample

_PIECE = 5
"""Steps between two checks of which examples are fooled; dropping some copies the others."""


@dataclass(frozen=True)
class PGD(Attack):
    """``steps`` projected steps of steepest ascent.

    Attributes:
        steps: gradient steps; 0 returns the start.
        step_size: length of a step in the threat's own norm and pixel units;
            ``None`` is reach · radius / steps, which follows the threat while it warms up.
        random_start: start at a random point of the set (else at the clean image).
        reach: length of the whole path in radii, if ``step_size`` is left out; 2.5 crosses the set
            from any start.
        track: return the best point seen, the clean image included, for two more forward passes,
            and let each point count in an evaluation; without it the last iterate is returned, as
            in training and in most papers.
        sharpness: of a step, see `Threat.steepest`; infinity is the sign.
        falling: step sizes fall linearly, with the same sum as ``steps`` equal ones.
        approach: fraction of the steps that come from outside, if the threat has an approach and
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
        """Clipped-gradient steps for training; all of them inside of the set, in ℓ1 too.

        On MNIST's LeNet at eps 76/255 four of these come within two points of eight signed ones,
        and eight within one of sixteen (benchmarks/speed/attack_steps.py).
        """
        return PGD(steps, reach=reach, sharpness=0.6, falling=True, approach=0.0)

    def __post_init__(self) -> None:
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

    def pieces(self, threat: Threat) -> Sequence[PGD]:
        """If it tracks: pieces of a few steps along the same path, or the attack in one piece."""
        if not self.track:
            return ()
        if self.falling or self.steps <= _PIECE or not threat.radius():
            return (self,)
        alpha, outside = self._step(threat), self._outside(threat)
        way = [replace(self, steps=outside, approach=1.0, track=False)] if outside else []
        left = self.steps - outside
        pieces = [min(_PIECE, left - done) for done in range(0, left, _PIECE)]
        return way + [replace(self, steps=n, step_size=alpha, track=False) for n in pieces]

    def search(self, task: Maximisation) -> Images:
        """The iterates themselves."""
        loss, x, threat = task.loss, task.x, task.threat
        alpha, x_adv, steps = self._step(threat), task.start, self.steps
        best = _Best(x, loss(x)) if self.track else None
        if x_adv is None and self._outside(threat):
            x_adv = self._from_outside(task)
            steps -= self._outside(threat)
        elif x_adv is None:
            x_adv = threat.sample(x, task.rng) if self.random_start else x
        for i in range(steps):
            values, grad = input_gradient(loss, x_adv)
            if best is not None:
                best.see(x_adv, values)
            scale = 2 * (steps - i) / (steps + 1) if self.falling else 1
            step = threat.step(grad, x_adv, self.sharpness)
            x_adv = threat.project(x_adv.add(step, alpha=alpha * scale), x)
        if best is None:
            return x_adv
        best.see(x_adv, loss(x_adv))
        return best.x

    def _from_outside(self, task: Maximisation) -> Images:
        """The result of steps as long as the radius, in sets that shrink geometrically.

        Pixels at the boundary of the box are pushed further, so that smaller sets keep them.
        """
        x, larger = task.x, task.threat.approach(self._outside(task.threat))
        x_adv = larger[0].sample(x, task.rng)
        for around in larger:
            x_adv = around.project(x_adv, x)
            step = around.step(input_gradient(task.loss, x_adv)[1], x, self.sharpness)
            x_adv = x_adv.add(step, alpha=around.radius())
        return task.threat.project(x_adv, x)

    def _outside(self, threat: Threat) -> int:
        """Number of steps that come from outside."""
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
