"""Method, the role: a paper's choice of objective, structures and solver, in stages.

A method is a frozen dataclass; its fields, those of the values that it holds included, are its
command-line flags.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from torch import nn

from hauberk.dataset import Examples
from hauberk.nested import SettingValue, changed, settings
from hauberk.objectives import Teacher
from hauberk.parametrize import Selection
from hauberk.problem import Objective, Problem
from hauberk.recipe import (
    Augmentation,
    Distillation,
    FileSettings,
    Optimisation,
    ThreatWeighting,
    TrainingAttack,
    TrainingLoss,
)
from hauberk.solver import Solver
from hauberk.solvers import ProjectedGradient
from hauberk.threat import Threat
from hauberk.training.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A recipe for a small robust network: stages, each a problem with its solver.

    A concrete method also declares how its file is written: ``packaging: Packaging = Packaging()``.

    Attributes:
        optimisation: epochs, batch size, learning rate, weight average.
        augmentation: random changes of the training images.
        training_attack: how the adversary searches while training.
        training_loss: what is minimised on each batch.
        threat_weighting: how several threats count.
        distillation: whose answers are the targets.
    """

    needs_labels: ClassVar[bool] = True
    """Whether it needs a class for each image, as most losses do."""

    optimisation: Optimisation = Optimisation()
    augmentation: Augmentation = Augmentation()
    training_attack: TrainingAttack = TrainingAttack()
    training_loss: TrainingLoss = TrainingLoss()
    threat_weighting: ThreatWeighting = ThreatWeighting()
    distillation: Distillation = Distillation()

    @property
    @abstractmethod
    def packaging(self) -> FileSettings:
        """The form in which trained weights are written to the file."""

    def network(self, model: nn.Module) -> nn.Module:
        """The network that the stages train, made of the user's; by default itself.

        Args:
            model: the user's network, which may become a part of the result.
        """
        return model

    @abstractmethod
    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        """The stages from a trained network to a small one.

        Between two of them the method may look at ``model`` and re-shape it; a resumed run walks
        through the stages again, so what happens between them must not be random.

        Args:
            model: trained in place.
            threat: what the adversary may do.
            sample: a few training examples, for methods that trace the graph or plan the bytes of
                a file.
        """

    def passes(self, trained: bool) -> int:
        """Passes over the training split, for an estimate of the time.

        Args:
            trained: whether no dense network is trained first.
        """
        every = {n: v for n, v in settings(self).items() if n.endswith("epochs")}
        dense = every.pop("dense_epochs", None)
        first = 0 if trained or dense is None else dense or max(1, self.optimisation.epochs)
        return int(first + sum(every.values()))

    def complaint(self, nbytes: int, dense_bytes: int) -> str:
        """Why the file that ships misses the method's target, in a line; empty if it does not.

        By default there is no target.

        Args:
            nbytes: of the file.
            dense_bytes: of the dense network in float32.
        """
        return ""

    def with_(self, **changes: SettingValue) -> Self:
        """The same method with other settings: ``hb.ATMC().with_(epochs=3, keep=0.02)``.

        Args:
            changes: new values by the names of their settings, those of nested values included.

        Raises:
            ValueError: a setting that the method does not have, or a value outside its range.
        """
        return changed(self, changes)

    def objective(self, threat: Threat, warmup: float = 0.0) -> Objective:
        """The training loss of this method's settings.

        Args:
            threat: what the adversary may do.
            warmup: fraction of the stage over which the threat grows to its full size.

        Raises:
            ValueError: settings of several threats for a single one.
        """
        return self.training_loss.objective(
            threat, self.training_attack, self.threat_weighting, warmup
        )

    def stage(self, name: str, problem: Problem, solver: Solver[Any], epochs: int) -> Stage:
        """A stage with this method's batches.

        Args:
            name: appears in the logs; unique within the method.
            problem: what is solved.
            solver: by what.
            epochs: passes over the training split; 0 trains nothing and only projects the weights.
        """
        size, reuse = self.optimisation.batch_size, self.training_attack.reuse
        return Stage(name, problem, solver, epochs, size, self.augmentation, reuse)

    def distilled(self, stages: Iterator[Stage], teacher: Teacher) -> Iterator[Stage]:
        """The same stages, with this teacher's soft labels as their targets."""
        for stage in stages:
            yield replace(stage, problem=self.distillation.distilled(stage.problem, teacher))

    def dense(self, threat: Threat) -> Iterator[Stage]:
        """The training of a model that is not trained yet; by default none."""
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
        epochs = self.dense_epochs or max(1, self.optimisation.epochs)
        yield dense_stage(self, threat, epochs)


def dense_stage(method: Method, threat: Threat, epochs: int) -> Stage:
    """A stage that trains the dense network: ``min_w E loss``, without structures.

    Args:
        method: its loss and its optimiser.
        threat: what the adversary may do.
        epochs: passes over the training split.
    """
    problem = Problem(method.objective(threat, method.training_attack.warmup))
    solver = ProjectedGradient(method.optimisation.descent())
    return method.stage("dense", problem, solver, epochs)
