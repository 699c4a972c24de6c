"""Optimisation: how long and how fast the weights descend."""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.solvers import Descent


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """Length and learning rate of the descent: AdamW, one-cycle.

    Attributes:
        epochs: passes over the training split; 0 trains nothing and only projects the weights.
        batch_size: examples per step, of all processes together.
        lr: peak learning rate.
        average: decay of the weight average per step, in [0, 1); a longer average generalises
            better and needs longer stages.

    Raises:
        ValueError: a setting outside its range.
    """

    epochs: int = 20
    batch_size: int = 128
    lr: float = 2e-3
    average: float = 0.998

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ValueError(f"epochs was given as {self.epochs}; give 0 or more.")
        if self.batch_size < 1:
            raise ValueError(f"batch_size was given as {self.batch_size}; give 1 or more.")
        self.descent()

    def descent(self, fraction: float = 1.0) -> Descent:
        """AdamW at ``fraction`` of the peak learning rate."""
        return Descent(lr=self.lr * fraction, average=self.average)
