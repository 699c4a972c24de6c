"""Distortion: the loss that pruning and rounding a layer cause, as functions of an angle.

    loss(w_l compressed to (K, b)) − loss(w) ≈ P_l(d_K) + Q_l(d_b)
    d_K = −log(1 − pruned energy / energy),   d_b = −log(1 − rounding error / kept energy)

d_K + d_b = −log cos² ∠(w'_l, w_l). Both errors have the same scale, but a network may be sensitive
to one and hardly to the other. P and Q interpolate the measurements linearly and never fall.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Angles: TypeAlias = NDArray[np.float64]
"""Values of −log cos², of any shape."""


@dataclass(frozen=True)
class Curve:
    """A loss over angles: piecewise linear from (0, 0).

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
        """The curve through noisy (angle, loss) points; its slope is at least ``least`` everywhere.

        A larger angle never costs less than a smaller one. Beyond the last point the curve
        continues with its steepest slope, a cautious extrapolation.

        Args:
            points: in any order; those at angle 0 are ignored.
            least: the smallest slope, above 0.
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
class Distortion:
    """One layer's two curves; without measurements the loss is the angle itself.

    Attributes:
        cut: P, of pruned weights.
        rounding: Q, of values that are rounded to a codebook.
    """

    cut: Curve = Curve()
    rounding: Curve = Curve()
