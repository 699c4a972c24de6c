"""The one training loop: any problem, any solver, any module.

Every random number is a function of its place (seed, stage, epoch, step), so a checkpoint needs
no generator state and a killed run resumes to the same bits.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.batch import Batch
from hauberk.dataset import Data
from hauberk.ops.random import generator, permutation
from hauberk.problem import Infeasible, NotFinite
from hauberk.runtime import signals
from hauberk.runtime.device import autocast, compiled, laid_out, placed
from hauberk.runtime.signals import Interrupted
from hauberk.runtime.sync_batchnorm import synchronised
from hauberk.training import checkpoint
from hauberk.training.guards import CollapseGuard, SupportWatch
from hauberk.training.log import Log
from hauberk.training.prefetch import Feed
from hauberk.training.run import CHECK_EVERY, Run, Solution, TrainingFailed
from hauberk.training.stage import Stage
from hauberk.training.warm_starts import Ends

HELD_OUT = 1000  # examples that are watched


def follow(stages: Iterable[Stage], model: nn.Module, data: Data, run: Run) -> list[dict[str, Any]]:
    """Solve stage after stage; a resumed run walks through the finished ones without training.

    Returns:
        The rows of the log, all stages.

    Raises:
        TrainingFailed: when a stage diverged or collapsed.
        Interrupted: after SIGINT or SIGTERM, once the checkpoint is written.
    """
    log = Log(run.folder, run.tensorboard)
    if run.folder and not run.resume:
        _clear(run.folder)
    ends = torch.empty(0)
    for number, stage in enumerate(stages):
        done = _kept(run, f"stage-{number}.safetensors")
        if done is not None:
            model.load_state_dict(done["model"])
            log.restore(done["history"])
            ends = done["ends"]
            continue
        solution = solve(stage, model, data, run, number, log, ends)
        if not solution.ok:
            raise TrainingFailed(solution.sentence)
        ends = solution.ends
    log.close()
    return log.history


def _clear(out: Path) -> None:
    """An earlier run's checkpoints are not this one's to resume from."""
    for path in (out / "checkpoint.safetensors", *out.glob("stage-*.safetensors")):
        path.unlink(missing_ok=True)


def _kept(run: Run, name: str) -> dict[str, Any] | None:
    """The checkpoint of this name, where the run resumes and has one."""
    tree = checkpoint.load(run.out / name, run.group) if run.out and run.resume else None
    if tree and tree["identity"] != run.identity:
        raise ValueError(
            f"{run.out} holds the checkpoint of a run with other settings; give the settings "
            "of that run, or another --out, or leave --resume out to start anew."
        )
    return tree


def solve(
    stage: Stage,
    model: nn.Module,
    data: Data,
    run: Run,
    number: int = 0,
    log: Log | None = None,
    ends: Tensor | None = None,
) -> Solution:
    """``argmin`` of the stage's problem, approximately, in place in ``model``.

    Args:
        stage: problem, solver and length.
        model: any module; it is moved to the run's device.
        data: its training split is trained on, its validation split watched, its test split unused.
        run: folder, seed, device, precision.
        number: the stage's place in its method.
        log: where the rows go.
        ends: where the attacks of the stage before ended, see `Recall`.
    """
    return _Leg(stage, model, data, run, number, log or Log(None, False), ends).solve()


class _Leg:
    """One stage under way."""

    def __init__(
        self,
        stage: Stage,
        model: nn.Module,
        data: Data,
        run: Run,
        number: int,
        log: Log,
        ends: Tensor | None,
    ) -> None:
        self.stage, self.run, self.number, self.log = stage, run, number, log
        self.device = run.place()
        if not len(data.train):
            raise ValueError(f"{data.name} has no training examples; give data with a train split.")
        self.group = run.group
        self.size = min(stage.batch_size, len(data.train))
        if self.size < self.group.size:
            raise ValueError(
                f"A batch of {self.size} cannot be shared by {self.group.size} processes; give a "
                "larger batch_size or fewer of them."
            )
        self.feed = Feed(data.train, self.device)
        held_out = data.validation.first(HELD_OUT).to(self.device)
        self.data = replace(data, train=self.feed.examples, validation=held_out)
        self.model = placed(model, self.device, len(data.shape) == 3)
        self.group.alike_(list(self.model.state_dict().values()))
        self.state = stage.solver.init(stage.problem, self.model)
        self.per_epoch = max(1, len(data.train) // stage.batch_size)
        self.total = self.per_epoch * stage.epochs
        self.step = 0
        self.sums: dict[str, Tensor] = {}
        self.guard = CollapseGuard.of(self.data.train.y, data.classes)
        self.watch = self._watch()
        self.order = torch.empty(0)
        self.shared = 0  # steps of this epoch whose ends every process has
        fresh = stage.problem.objective.memory()
        self.memory = {name: t.to(self.device) for name, t in fresh.items()}
        searches = stage.problem.objective.searches()
        self.ends = Ends(data.train, stage.reuse, searches, self.device, ends)

    def solve(self) -> Solution:
        with self.feed:
            return self._solved()

    def _solved(self) -> Solution:
        self._restore()
        self.run.watcher.stage(self.stage.name, self.total, self.step)
        self._remember()
        with (
            signals.noted() as caught,
            synchronised(self.model, self.group),
            compiled(self.model, self.run.compiled),
        ):
            signum = 0
            while self.step < self.total and not signum:
                sentence = self._one_step()
                if sentence:
                    return self._failed(sentence)
                signum = self.group.most(caught[0] if caught else 0)
            if self.step < self.total:
                self._save("checkpoint.safetensors")
                raise Interrupted(self._farewell(signum), signum)
        self.stage.solver.finish(self.stage.problem, self.model, self.state)
        self._save(f"stage-{self.number}.safetensors")
        self._forget()
        if signum:
            raise Interrupted(self._farewell(signum), signum)
        return Solution(True, "", self.log.history, self.ends.kept)

    def _one_step(self) -> str:
        epoch, place = divmod(self.step, self.per_epoch)
        self.model.train()
        if place == 0 or not len(self.order):
            self.order = self._shuffle(epoch)
        dropout = (self.run.seed, self.number, self.step, self.group.rank)
        torch.manual_seed(hash(dropout) & 0x7FFFFFFF)
        try:
            with autocast(self.device, self.run.bf16):
                metrics = self.stage.solver.step(
                    self.stage.problem, self.model, self._batch(epoch, place), self.state
                )
        except NotFinite:
            return _nan(self.stage.name, self.step)
        except Infeasible as error:
            return str(error)
        for name, value in metrics.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()
        self.step += 1
        seen = None
        if self.step % CHECK_EVERY == 0 or self.step % self.per_epoch == 0:
            whole = self.group.mean(metrics, self._share())
            seen = {name: float(value) for name, value in whole.items()}
        self.run.watcher.step(seen)
        if seen and not all(math.isfinite(v) for v in seen.values()):
            return _nan(self.stage.name, self.step)
        return self._end_epoch(epoch) if self.step % self.per_epoch == 0 else ""

    def _shuffle(self, epoch: int) -> Tensor:
        self.shared = 0
        rng = generator(self.run.seed, "shuffle", self.number, epoch)
        return permutation(len(self.data.train), rng).to(self.feed.place)

    def _rows(self, place: int) -> Tensor | None:
        """This process's examples of a step of this epoch; None past its end."""
        whole = self.order[place * self.size : (place + 1) * self.size]
        return whole[self.group.part(self.size)] if place < self.per_epoch else None

    def _batch(self, epoch: int, place: int) -> Batch:
        index = self._rows(place)
        assert index is not None
        rng = generator(self.run.seed, "step", self.number, self.step, device=self.device)
        rng.part, rng.whole = self.group.part(self.size), self.size
        x = self.feed.images(index, self._rows(place + 1))
        index = index.to(self.device)
        recall = self.ends.recall(index)
        if self.stage.augmentation:
            moves = self.stage.augmentation.draw(x, rng)
            x = moves(x)
            recall = recall and replace(recall, there=moves, back=moves.back())
        return Batch(
            laid_out(x),
            self.data.train.y[index],
            rng,
            self.step / self.total,
            recall,
            self.memory,
            self.group,
            self._share(),
            self.step,
        )

    def _share(self) -> float:
        """Of this process's rows in a batch; 1 where it is alone."""
        part = range(self.size)[self.group.part(self.size)]
        return len(part) / self.size

    def _end_epoch(self, epoch: int) -> str:
        sums = self.group.mean(self.sums, self._share())
        means = {name: float(value) / self.per_epoch for name, value in sums.items()}
        self.sums = {}
        row: dict[str, Any] = {
            "stage": self.stage.name,
            "epoch": epoch + 1,
            **means,
            **self._validate(epoch),
        }
        if self.watch:
            row |= self.watch.look(self.stage.problem.weights(self.model))
        self.log.add(row)
        self.run.watcher.epoch(row)
        sentence = self.guard.look(self.stage.name, means, self.per_epoch)
        if not sentence:
            self._remember()
            self._save("checkpoint.safetensors")
        return sentence

    @torch.no_grad()
    def _validate(self, epoch: int) -> dict[str, float]:
        """The same objective on (at most `HELD_OUT`) held-out examples, by the training attack.

        Where training goes on from the last ends, so do these attacks, from their own.
        """
        held_out = self.data.validation
        if not len(held_out):
            return {}
        rng = generator(self.run.seed, "validate", self.number, epoch, device=self.device)
        self.model.eval()
        with autocast(self.device, self.run.bf16):
            recall, times = self.ends.rehearsal(held_out)
            looked = {name: t.clone() for name, t in self.memory.items()}
            batch = Batch(
                laid_out(held_out.images()), held_out.y, rng, recall=recall, memory=looked
            )
            for _ in range(times):
                loss = self.stage.problem.objective(self.model, batch)
        return {f"val_{k}": float(v) for k, v in {"loss": loss.value, **loss.metrics}.items()}

    def _failed(self, sentence: str) -> Solution:
        self.model.load_state_dict(self.sane)
        return Solution(False, sentence, self.log.history, self.ends.kept)

    def _remember(self) -> None:
        """The weights to fall back to should the next epoch diverge."""
        self.sane = {name: value.clone() for name, value in self.model.state_dict().items()}

    def _watch(self) -> SupportWatch | None:
        problem = self.stage.problem
        return SupportWatch(problem.weights(self.model)) if problem.structures else None

    def _tree(self) -> dict[str, Any]:
        return {
            "identity": self.run.identity,
            "stage": self.number,
            "step": self.step,
            "model": dict(self.model.state_dict()),
            "state": self.state.tree(),
            "sums": self.sums,
            "ends": self.ends.kept,
            "held_out_ends": self.ends.held_out,
            "memory": self.memory,
            "guard": self.guard.steps,
            "history": self.log.history,
        }

    def _save(self, name: str) -> None:
        """The first process writes what all have agreed on."""
        self._share_ends()
        self.sums = self.group.mean(self.sums, self._share())
        if self.run.folder:
            checkpoint.save(self.run.folder / name, self._tree())
        self.group.wait()

    def _share_ends(self) -> None:
        """Of this epoch, those that are not shared yet."""
        if not len(self.order):
            return
        done = self.step % self.per_epoch or self.per_epoch
        batches = self.order[: done * self.size].view(done, self.size)
        self.ends.share(batches[self.shared :], self.group)
        self.shared = done

    def _restore(self) -> None:
        tree = _kept(self.run, "checkpoint.safetensors")
        if not tree or tree["stage"] != self.number:
            return
        self.model.load_state_dict(tree["model"])
        self.state.load(tree["state"])
        self.step, self.guard.steps = tree["step"], tree["guard"]
        self.sums = {name: value.to(self.device) for name, value in tree["sums"].items()}
        self.ends.kept = tree["ends"].to(self.device)
        self.ends.held_out = tree.get("held_out_ends", torch.empty(0)).to(self.device)
        kept = tree.get("memory", {})  # checkpoints from before there was any have none
        self.memory |= {name: t.to(self.device) for name, t in kept.items()}
        self.log.restore(tree["history"])
        self.watch = self._watch()

    def _forget(self) -> None:
        if self.run.folder:
            (self.run.folder / "checkpoint.safetensors").unlink(missing_ok=True)

    def _farewell(self, signum: int) -> str:
        kept = f"; its checkpoint is in {self.run.out}: run the same command with --resume"
        return (
            f"{signal.Signals(signum).name} ended the run in stage {self.stage.name}, step "
            f"{self.step} of {self.total}{kept if self.run.out else ''}."
        )


def _nan(stage: str, step: int) -> str:
    return (
        f"Stage {stage} diverged: loss or weights are no longer finite numbers at step {step}. "
        "Try a smaller learning rate, or full precision instead of bf16."
    )
