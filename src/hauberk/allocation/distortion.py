"""What a cut does to the loss, as a function of the angle by which it turns a layer's weights.

    loss(w_l cut to (K, b)) − loss(w) ≈ P_l(d_K) + Q_l(d_b)
    d_K = −log(1 − cut energy / energy),   d_b = −log(1 − rounding error / kept energy)

d_K + d_b = −log cos² ∠(w'_l, w_l): both are errors of the same scale, of which a network may feel
one and hardly the other. P and Q go through what was measured, linearly between, and never fall.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Angles: TypeAlias = NDArray[np.float64]
"""−log cos², of any shape."""


@dataclass(frozen=True)
class Curve:
    """A loss over angles: linear from point to point, from (0, 0) on.

    Attributes:
        angles: rising, above 0.
        losses: at each, never falling.
        beyond: slope after the last.
    """

    angles: tuple[float, ...] = ()
    losses: tuple[float, ...] = ()
    beyond: float = 1.0

    @staticmethod
    def through(points: Iterable[tuple[float, float]], least: float) -> Curve:
        """Through measured (angle, loss), noise and all: it rises by ``least`` an angle anywhere.

        Where a larger angle was found to cost less it costs the same; beyond the last point the
        curve goes on as its steepest stretch, for what was not measured is not to be hoped for.

        Args:
            points: in any order; those at angle 0 say nothing.
            least: slope, above 0: nothing is free.
        """
        known = sorted((a, loss) for a, loss in points if a > 0)
        angles, losses, beyond = [0.0], [0.0], least
        for angle, loss in known:
            if angle > angles[-1]:
                reached = max(loss, losses[-1] + least * (angle - angles[-1]))
                beyond = max(beyond, (reached - losses[-1]) / (angle - angles[-1]))
                angles, losses = [*angles, angle], [*losses, reached]
        return Curve(tuple(angles[1:]), tuple(losses[1:]), beyond)

    def __call__(self, angles: Angles) -> Angles:
        """The loss at each."""
        known, losses = (0.0, *self.angles), (0.0, *self.losses)
        over = np.maximum(0.0, angles - known[-1])
        found: Angles = np.interp(angles, known, losses) + self.beyond * over
        return found


@dataclass(frozen=True)
class Harm:
    """One layer's two curves; unmeasured, an angle costs itself.

    Attributes:
        cut: P, of weights that are cut.
        rounding: Q, of values that are rounded to a codebook.
    """

    cut: Curve = Curve()
    rounding: Curve = Curve()
