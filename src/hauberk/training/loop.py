"""The training loop, the same for every problem, solver and module.

    for batch in batches:  step;  at the end of an epoch:  validate, log, check, save

Every random number is a function of its place (seed, stage, epoch, step), so a checkpoint needs
no generator state and a killed run resumes to the same bits.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable
from contextlib import closing
from typing import Any

from torch import Tensor, nn

from hauberk.batch import Batch
from hauberk.dataset import Data
from hauberk.ops.random import seed_layers
from hauberk.problem import Infeasible, NotFinite
from hauberk.runtime import signals
from hauberk.runtime.device import autocast, compiled, placed
from hauberk.runtime.progress import tell
from hauberk.runtime.signals import Interrupted
from hauberk.runtime.sync_batchnorm import synchronised
from hauberk.solver import Metrics
from hauberk.training import snapshot
from hauberk.training.batches import Batches
from hauberk.training.guards import Guards
from hauberk.training.log import Log
from hauberk.training.metrics import EpochMetrics, SupportChange
from hauberk.training.run import Run, Solution, TrainingFailed
from hauberk.training.snapshot import Snapshot
from hauberk.training.stage import Stage
from hauberk.training.validation import Validation


def follow(stages: Iterable[Stage], model: nn.Module, data: Data, run: Run) -> list[dict[str, Any]]:
    """Solve stage after stage; a resumed run skips the training of finished stages.

    Args:
        stages: each is requested once the one before it is solved.
        model: any module; trained in place.
        data: see `solve`.
        run: folder, seed, device, precision.

    Returns:
        The rows of the log, all stages.

    Raises:
        ValueError: the data cannot be trained on, or a checkpoint is damaged or of another run.
        TrainingFailed: a stage diverged, collapsed or cannot meet a bound.
        Interrupted: after SIGINT, SIGTERM or SIGHUP, once the checkpoint is written.
    """
    log = Log(run.folder, run.tensorboard)
    if run.folder and not run.resume:
        snapshot.clear(run.folder)
    perturbations = None
    for number, stage in enumerate(stages):
        done = snapshot.finished(run, number)
        if done is not None:
            # what a method computes between stages must round as it did in the first run
            placed(model, run.place(), len(data.shape) == 3)
            perturbations = snapshot.passed(run, number, done, model, log)
            continue
        solution = solve(stage, model, data, run, number, log, perturbations)
        if not solution.ok:
            raise TrainingFailed(solution.error)
        perturbations = solution.perturbations
        tell("planning what follows")
    log.close()
    return log.history


def solve(
    stage: Stage,
    model: nn.Module,
    data: Data,
    run: Run,
    number: int = 0,
    log: Log | None = None,
    perturbations: Tensor | None = None,
) -> Solution:
    """``argmin`` of the stage's problem, approximately, in place in ``model``.

    Args:
        stage: problem, solver and length.
        model: any module; it is moved to the run's device.
        data: the training split is trained on, the validation split measured, the test split
            not used.
        run: folder, seed, device, precision.
        number: the stage's place in its method.
        log: where the rows go.
        perturbations: those that the stage before ended with, see `Batches`.

    Raises:
        ValueError: the data cannot be trained on, or a checkpoint is damaged or of another run.
        Interrupted: after SIGINT, SIGTERM or SIGHUP, once the checkpoint is written.
    """
    with closing(Batches(stage, number, data, run, perturbations)) as batches:
        return _Training(stage, model, data, run, log or Log(None, False), batches).solve()


class _Training:
    """One stage of a run: its parts, and the loop over them."""

    def __init__(
        self, stage: Stage, model: nn.Module, data: Data, run: Run, log: Log, batches: Batches
    ) -> None:
        self.stage, self.run, self.log, self.batches = stage, run, log, batches
        self.problem, self.device, number = stage.problem, run.place(), batches.number
        self.model = placed(model, self.device, len(data.shape) == 3)
        run.group.broadcast_(list(self.model.state_dict().values()))
        self.state = stage.solver.init(self.problem, self.model)
        per_epoch, labels = batches.per_epoch, batches.labels
        self.metrics = EpochMetrics(per_epoch, run.group, batches.fraction, self.device)
        self.validation = Validation(stage, number, data, run)
        self.support = SupportChange(self._constrained())
        self.guards = Guards.of(stage.name, per_epoch, labels, data.classes)
        parts = {
            "solver": self.state,
            "batches": batches,
            "metrics": self.metrics,
            "validation": self.validation,
            "support": self.support,
            "guards": self.guards,
            "log": log,
        }
        self.snapshot = Snapshot(run, number, self.model, parts)

    def solve(self) -> Solution:
        """Train until the stage is done, a guard stops it, or a signal does."""
        batches, group = self.batches, self.run.group
        self.snapshot.restore()
        for note in self.stage.notes:
            self.run.watcher.note(note)
        self.run.watcher.stage(self.stage.name, batches.total, batches.step)
        with (
            signals.deferred() as caught,
            synchronised(self.model, group),
            compiled(self.model, self.run.compiled),
        ):
            signum = 0
            for batch in batches:
                failure = self._step(batch)
                if not failure and batches.epoch_ended:
                    failure = self._end_epoch()
                if failure:
                    self.snapshot.fall_back()
                    return self._solution(failure)
                signum = group.all_reduce_max(caught[0] if caught else 0)
                if signum:
                    break
            if batches.step < batches.total:
                self.snapshot.save()
                raise self._interrupted(signum)
        self.stage.solver.finish(self.problem, self.model, self.state)
        self.snapshot.finish()
        if signum:
            raise self._interrupted(signum)
        return self._solution("")

    def _step(self, batch: Batch) -> str | None:
        """One step of the solver; an error message if it failed."""
        step = self.batches.step
        try:
            metrics = self._solver_step(batch)
        except NotFinite:
            return self.guards.diverged(step)
        except Infeasible as error:
            return str(error)
        checked = self.metrics.add(metrics, step)
        self.run.watcher.step(checked)
        return self.guards.check_step(checked or {}, step)

    def _solver_step(self, batch: Batch) -> Metrics:
        self.model.train()
        dropout = (self.run.seed, self.batches.number, batch.step, self.run.group.rank)
        seed_layers(hash(dropout) & 0x7FFFFFFF, self.device)
        with autocast(self.device, self.run.bf16):
            return self.stage.solver.step(self.problem, self.model, batch, self.state)

    def _end_epoch(self) -> str | None:
        """Validate, log, check, save; an error message if a guard stops the stage."""
        epoch = self.batches.epoch
        row: dict[str, Any] = {"stage": self.stage.name, "epoch": epoch, **self.metrics.close()}
        row |= self.validation.measure(self.model, epoch, self.batches.memory)
        row |= self.support.measure(self._constrained())
        self.log.add(row)
        self.run.watcher.epoch(row)
        failure = self.guards.check(row) or self._failure(row)
        if not failure:
            self.snapshot.save()
        return failure

    def _failure(self, row: dict[str, Any]) -> str | None:
        told = self.problem.objective.failure(
            {name: value for name, value in row.items() if isinstance(value, float)}
        )
        return told and f"Stage {self.stage.name} {told}"

    def _constrained(self) -> dict[str, nn.Parameter]:
        return self.problem.weights(self.model) if self.problem.structures else {}

    def _solution(self, failure: str) -> Solution:
        perturbations = self.batches.warm_starts.perturbations
        return Solution(not failure, failure, self.log.history, perturbations)

    def _interrupted(self, signum: int) -> Interrupted:
        kept = f"; its checkpoint is in {self.run.out}: run the same command with --resume"
        message = (
            f"{signal.Signals(signum).name} ended the run in stage {self.stage.name}, step "
            f"{self.batches.step} of {self.batches.total}{kept if self.run.out else ''}."
        )
        return Interrupted(message, signum)
