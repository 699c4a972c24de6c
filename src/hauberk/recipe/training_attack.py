"""Training attack: the inner maximisation while training."""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.attacks import PGD


@dataclass(frozen=True, kw_only=True)
class TrainingAttack:
    """The inner maximisation while training.

    Attributes:
        attack_steps: clipped-gradient steps of the training attack (see `PGD.soft`).
        reuse: start each training attack where the previous one on that example ended.
        warmup: fraction of the dense training over which eps grows to its full size.

    Raises:
        ValueError: a setting outside its range.
    """

    attack_steps: int = 4
    reuse: bool = False
    warmup: float = 0.2

    def __post_init__(self) -> None:
        if self.attack_steps < 1:
            raise ValueError(f"attack_steps was given as {self.attack_steps}; give 1 or more.")
        if not 0 <= self.warmup <= 1:
            raise ValueError(f"warmup was given as {self.warmup}; give a fraction in [0, 1].")

    def search(self) -> PGD:
        """The attack itself; a warm start is far out already, so its path is shorter."""
        if self.reuse:
            return PGD.soft(self.attack_steps, reach=0.7 * self.attack_steps)
        return PGD.soft(self.attack_steps)
