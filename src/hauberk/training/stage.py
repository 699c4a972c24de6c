"""A stage: one problem, the solver for it, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hauberk.problem import Problem
from hauberk.solver import Solver


@dataclass(frozen=True)
class Stage:
    """One leg of a method: a problem, the solver for it, and for how long.

    Attributes:
        name: appears in the logs; unique within the method.
        problem: what is solved.
        solver: by what.
        epochs: passes over the training split; 0 only makes the weights feasible.
        batch_size: examples per step.
        shift: training images are moved by up to so many pixels.
        reuse: each attack goes on where the last one on that example ended.
        flip: half of the training images are mirrored, left to right.
        cutout: side of a square of each training image that becomes black, in pixels.
    """

    name: str
    problem: Problem
    solver: Solver[Any]
    epochs: int
    batch_size: int = 128
    shift: int = 0
    reuse: bool = False
    flip: bool = False
    cutout: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if self.epochs < 0:
            raise ValueError(f"epochs was given as {self.epochs}; give 0 or more.")
        if self.batch_size < 1:
            raise ValueError(f"batch_size was given as {self.batch_size}; give 1 or more.")
        if self.shift < 0:
            raise ValueError(f"shift was given as {self.shift}; give 0 pixels or more.")
        if self.cutout < 0:
            raise ValueError(f"cutout was given as {self.cutout}; give 0 pixels or more.")

    @property
    def augmented(self) -> bool:
        """Whether training images are changed at all."""
        return bool(self.shift or self.flip or self.cutout)
