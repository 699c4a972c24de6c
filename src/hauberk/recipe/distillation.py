"""Distillation: a teacher whose answers on clean images are the targets."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hauberk.objectives import Distilled, Held, Imitation, Teacher
from hauberk.objectives.distill import refuse_lesson
from hauberk.problem import Bound, Objective, Problem


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """A teacher whose answers on clean images are the targets; by default the labels alone.

    Attributes:
        teacher: self (the dense net that the compression starts from) or a file (.hbk, or plain
            weights of --model); empty is no teacher.
        teacher_fraction: weight of the teacher in the loss, in (0, 1]; the labels have the rest.
        temperature: divides both nets' logits before they are compared; above 0.
        soft_attack: the training attack maximises the divergence from the teacher, in place of
            the cross-entropy with the labels.

    Raises:
        ValueError: a setting outside its range.
    """

    teacher: str = ""
    teacher_fraction: float = 1.0
    temperature: float = 1.0
    soft_attack: bool = False

    def __post_init__(self) -> None:
        refuse_lesson(self.teacher_fraction, self.temperature)

    def distilled(self, problem: Problem, teacher: Teacher) -> Problem:
        """The same problem, with the teacher's soft labels as its targets.

        An imitation gets the teacher in place of its own. If a bound's surrogate is an objective,
        that has the targets in place of the problem's own.
        """
        held = {n: b for n, b in problem.bounds.items() if isinstance(b.surrogate, Held)}
        if not held:
            return replace(problem, objective=self._distilled(problem.objective, teacher))

        def with_targets(bound: Bound) -> Bound:
            assert isinstance(bound.surrogate, Held)
            return replace(
                bound, surrogate=Held(self._distilled(bound.surrogate.objective, teacher))
            )

        bounds = {name: with_targets(bound) for name, bound in held.items()}
        return replace(problem, bounds={**problem.bounds, **bounds})

    def _distilled(self, objective: Objective, teacher: Teacher) -> Objective:
        if isinstance(objective, Imitation):
            return replace(objective, teacher=teacher)
        fraction, temperature = self.teacher_fraction, self.temperature
        return Distilled(objective, teacher, fraction, temperature, self.soft_attack)
