"""What a method is: a paper's choice of objective, structures and solver, in stages.

A method is a frozen dataclass, and its fields are its command-line flags.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from hauberk.attacks import PGD
from hauberk.dataset import Examples
from hauberk.objectives import (
    AVERAGE,
    WORST,
    Adversarial,
    Audit,
    Distilled,
    PerSample,
    Shared,
    Supervised,
    Teacher,
    Weighting,
    WeightPerturbed,
    WorstDomain,
)
from hauberk.objectives.distill import refuse_lesson
from hauberk.objectives.weight_perturbation import refuse_perturbation
from hauberk.parametrize import Selection
from hauberk.problem import Objective, Problem
from hauberk.solver import Solver
from hauberk.solvers import Descent, ProjectedGradient
from hauberk.threat import Threat
from hauberk.training.augment import Augmentation
from hauberk.training.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A way to a small robust network.

    Attributes:
        epochs: passes over the training split.
        batch_size: examples per step.
        lr: peak learning rate of AdamW, one-cycle.
        average: memory of the weight average, per step, in [0, 1); longer ones generalise better
            and need longer stages.
        attack_steps: soft PGD steps of the training attack (see ``PGD.soft``).
        reuse: each training attack goes on where the last one on that example ended.
        clean: share of clean loss beside the adversarial loss.
        q: above 0 the adversarial loss saturates for hopeless examples (see ``Adversarial``).
        warmup: share of a dense training over which eps grows to its full size.
        shift: training images are moved by up to so many pixels, as by a crop after padding with
            black.
        flip: half of the training images are mirrored, left to right.
        cutout: a square of so many pixels a side becomes black in each training image.
        half: ship biases, norms and values outside a codebook as float16.
        slim: drop dead filters and channels from the file; needs a traceable graph.
        teacher: whose answers on clean images are learnt: self, the dense net that the compression
            starts from, or a file (.hbk, or plain weights of --model); by default the labels alone.
        teacher_share: of the teacher in the loss, in (0, 1]; the labels have the rest.
        temperature: by which both nets' logits are divided before they are compared.
        soft_attack: the training attack raises the divergence from the teacher, in place of the
            cross-entropy with the labels.
        awp: adversarial weight perturbation: train at the worst weights within so large a share of
            each tensor's norm (0.005 is usual); 0 is off.
        domains: how several threats count (--threat linf:0.2+l2:2): min-max puts weight on the
            worst, average counts all alike, max counts each example's worst alone.
        gamma: of min-max, 0 or more: the larger, the more alike the weights.
        weight_rate: of min-max, the step by which the weights follow the losses.
        audit: of several threats: every so many steps a longer search of the batch looks at what
            the training attack misses, and min-max weighs that, too; 0 is never.
        per_sample: min-max has weights for each example, in place of the same ones for all.
    """

    epochs: int = 20
    batch_size: int = 128
    lr: float = 2e-3
    average: float = 0.998
    attack_steps: int = 4
    reuse: bool = False
    clean: float = 0.0
    q: float = 0.0
    warmup: float = 0.2
    shift: int = 0
    flip: bool = False
    cutout: int = 0
    half: bool = True
    slim: bool = False
    teacher: str = ""
    teacher_share: float = 1.0
    temperature: float = 1.0
    soft_attack: bool = False
    awp: float = 0.0
    domains: str = "min-max"
    gamma: float = 0.2
    weight_rate: float = 0.02
    audit: int = 16
    per_sample: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if self.epochs < 0:
            raise ValueError(f"epochs was given as {self.epochs}; give 0 or more.")
        if self.batch_size < 1:
            raise ValueError(f"batch_size was given as {self.batch_size}; give 1 or more.")
        if self.attack_steps < 1:
            raise ValueError(f"attack_steps was given as {self.attack_steps}; give 1 or more.")
        if self.shift < 0 or self.cutout < 0:
            raise ValueError(
                f"shift was given as {self.shift} and cutout as {self.cutout}; give 0 pixels or "
                "more to each."
            )
        if not 0 <= self.clean < 1:
            raise ValueError(f"clean was given as {self.clean}; give a share in [0, 1).")
        if not 0 <= self.warmup <= 1:
            raise ValueError(f"warmup was given as {self.warmup}; give a share in [0, 1].")
        if not 0 <= self.q <= 1:
            raise ValueError(f"q was given as {self.q}; give an exponent in [0, 1].")
        refuse_lesson(self.teacher_share, self.temperature)
        if self.awp:
            refuse_perturbation(self.awp)
        Audit(self.audit)
        self.weighting()
        self.descent()

    @abstractmethod
    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        """The legs from a trained network to a small one.

        Between two of them the method may look at ``model`` and re-shape it; a resumed run walks
        through the legs again, so what happens between them must not be random.

        Args:
            model: trained in place.
            threat: what the adversary may do.
            sample: a few training examples, for methods that trace the graph or price a file.
        """

    def objective(self, threat: Threat, warmup: float = 0.0) -> Objective:
        """The adversarial loss of this method's settings, under several threats the weighed one."""
        attack = PGD.soft(self.attack_steps)
        if self.reuse:  # it starts far out already: short steps
            attack = PGD.soft(self.attack_steps, reach=0.7 * self.attack_steps)
        robust = Adversarial(threat, attack, self.clean, warmup, self.q)
        if len(threat.parts()) < 2:
            self._refuse_weights_of_one()
            return self.perturbed(robust)
        return self.perturbed(WorstDomain(robust, self.weighting(), Audit(self.audit)))

    def perturbed(self, objective: Supervised) -> Objective:
        """The objective at the worst weights near by, where that is asked for."""
        return WeightPerturbed(objective, self.awp) if self.awp else objective

    def weighting(self) -> Weighting:
        """How several threats count."""
        strategies: dict[str, Weighting] = {
            "min-max": Shared(self.weight_rate, self.gamma),
            "average": AVERAGE,
            "max": WORST,
        }
        if self.domains not in strategies:
            raise ValueError(
                f"domains was given as {self.domains!r}; give one of {', '.join(strategies)}."
            )
        if self.per_sample and self.domains == "min-max":
            return PerSample(self.gamma)
        return strategies[self.domains]

    def _refuse_weights_of_one(self) -> None:
        """One threat has no weights, and what is said of them would go unheard."""
        for name in ("domains", "gamma", "weight_rate", "audit", "per_sample"):
            value = getattr(self, name)
            if value != getattr(type(self), name):
                raise ValueError(
                    f"{name} was given as {value}, which is about several threats, and there is "
                    "one; leave it out, or give several, such as linf:0.1+l2:1."
                )

    def descent(self, share: float = 1.0) -> Descent:
        """AdamW at ``share`` of the peak rate."""
        return Descent(lr=self.lr * share, average=self.average)

    def stage(self, name: str, problem: Problem, solver: Solver[Any], epochs: int) -> Stage:
        """A leg with this method's batches."""
        return Stage(
            name,
            problem,
            solver,
            epochs,
            batch_size=self.batch_size,
            augmentation=Augmentation(self.shift, self.flip, self.cutout),
            reuse=self.reuse,
        )

    def taught(self, stages: Iterator[Stage], teacher: Teacher) -> Iterator[Stage]:
        """The same legs, with this teacher's soft labels as their targets."""
        for stage in stages:
            taught = self.lesson(stage.problem.objective, teacher)
            yield replace(stage, problem=replace(stage.problem, objective=taught))

    def lesson(self, objective: Objective, teacher: Teacher) -> Objective:
        """The same objective, with the teacher's soft labels as its targets."""
        return Distilled(objective, teacher, self.teacher_share, self.temperature, self.soft_attack)

    def dense(self, threat: Threat) -> Iterator[Stage]:
        """What comes first for a model that is not trained: nothing, unless a method says so."""
        yield from ()


@dataclass(frozen=True, kw_only=True)
class Compression(Method):
    """A method that starts from a trained dense network.

    Attributes:
        dense_epochs: passes of the dense training (none with --from); 0 means as many as epochs.
        include: shell patterns of the layers that are compressed (blocks.*); by default all.
        exclude: patterns of layers that stay dense.
    """

    dense_epochs: int = 0
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def select(self) -> Selection:
        """Which parameters are compressed."""
        return Selection(self.include, self.exclude)

    def dense(self, threat: Threat) -> Iterator[Stage]:
        """Train the dense network, for this method's objective."""
        yield dense_stage(self, threat, self.dense_epochs or max(1, self.epochs))


def dense_stage(method: Method, threat: Threat, epochs: int) -> Stage:
    """``min_w E loss`` with nothing asked of the weights."""
    problem = Problem(method.objective(threat, method.warmup))
    solver = ProjectedGradient(method.descent())
    return method.stage("dense", problem, solver, epochs)
