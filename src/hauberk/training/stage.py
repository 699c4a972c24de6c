"""A stage: one problem, the solver for it, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hauberk.problem import Problem
from hauberk.solver import Solver
from hauberk.training.augment import Augmentation


@dataclass(frozen=True)
class Stage:
    """One stage of a method: a problem, the solver for it, and for how long.

    Attributes:
        name: appears in the logs; unique within the method.
        problem: what is solved.
        solver: by what.
        epochs: passes over the training split; 0 trains nothing and only projects the weights.
        batch_size: examples per step.
        augmentation: random changes of the training images.
        reuse: each attack starts where the previous attack on that example ended.
        notes: decisions that the method made before this stage, one line each.
    """

    name: str
    problem: Problem
    solver: Solver[Any]
    epochs: int
    batch_size: int = 128
    augmentation: Augmentation = Augmentation()
    reuse: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ValueError(f"epochs was given as {self.epochs}; give 0 or more.")
        if self.batch_size < 1:
            raise ValueError(f"batch_size was given as {self.batch_size}; give 1 or more.")
