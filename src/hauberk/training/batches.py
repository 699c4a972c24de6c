"""Training batches: order, augmentation, warm starts, and each process's rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hauberk.batch import Batch
from hauberk.dataset import Data
from hauberk.ops.random import generator, permutation
from hauberk.runtime import schema
from hauberk.runtime.device import laid_out
from hauberk.training.prefetch import Prefetch
from hauberk.training.run import Run
from hauberk.training.stage import Stage
from hauberk.training.warm_starts import WarmStarts


class Batches:
    """Iterates over the batches of one stage, from the first step or from the one of a checkpoint.

    Every random number is a function of its place (seed, stage, epoch, step), so the state is the
    step number and what the steps leave behind for later ones. `close` ends the prefetching
    threads.

    Args:
        stage: gives batch size, epochs, augmentation and what the objective carries along.
        number: of the stage in its method; part of every random seed.
        data: the training split is iterated over.
        run: seed, device and processes.
        perturbations: those that the stage before ended with, for warm starts.

    Attributes:
        step: batches given out so far.
        size: examples per batch, over all processes.
        per_epoch: batches per epoch.
        total: batches per stage.
        fraction: of a batch's rows that are this process's.
        memory: tensors that the objective changes in place from step to step.
        warm_starts: the perturbations that attacks start from.

    Raises:
        ValueError: the data have no training examples, a batch has fewer rows than there are
            processes, or the warm starts do not fit on the device.
    """

    def __init__(
        self,
        stage: Stage,
        number: int,
        data: Data,
        run: Run,
        perturbations: Tensor | None = None,
    ) -> None:
        if not len(data.train):
            raise ValueError(f"{data.name} has no training examples; give data with a train split.")
        self.stage, self.number, self.seed, self.group = stage, number, run.seed, run.group
        self.size = min(stage.batch_size, len(data.train))
        if self.size < self.group.size:
            raise ValueError(
                f"A batch of {self.size} cannot be shared by {self.group.size} processes; give a "
                "larger batch_size or fewer of them."
            )
        self.device = run.place()
        self.prefetch = Prefetch(data.train, self.device)
        self.per_epoch = max(1, len(data.train) // stage.batch_size)
        self.total = self.per_epoch * stage.epochs
        self.step = 0
        self._part = self.group.part(self.size)
        self.fraction = len(range(self.size)[self._part]) / self.size
        self._order = torch.empty(0)
        self._exchanged = 0  # steps of this epoch whose perturbations every process has
        objective = stage.problem.objective
        self.memory = {name: t.to(self.device) for name, t in objective.memory().items()}
        self.warm_starts = WarmStarts(
            data.train, stage.reuse, objective.searches(), self.device, perturbations
        )

    def close(self) -> None:
        """End the prefetching threads."""
        self.prefetch.close()

    @property
    def labels(self) -> Tensor:
        """Class indices of all training examples."""
        return self.prefetch.examples.y

    @property
    def epoch(self) -> int:
        """The epoch, from 1, of the batch that was given out last."""
        return (self.step - 1) // self.per_epoch + 1

    @property
    def epoch_ended(self) -> bool:
        """Whether the batch that was given out last is the last one of its epoch."""
        return self.step % self.per_epoch == 0

    def __iter__(self) -> Iterator[Batch]:
        while self.step < self.total:
            epoch, place = divmod(self.step, self.per_epoch)
            if place == 0 or not len(self._order):
                self._shuffle(epoch)
            batch = self._batch(place)
            self.step += 1
            yield batch

    def tree(self) -> dict[str, Any]:
        """Step, perturbations and the objective's memory; all processes must call it together."""
        self._exchange()
        perturbations = self.warm_starts.perturbations
        return {"step": self.step, "perturbations": perturbations, "memory": self.memory}

    def load(self, tree: dict[str, Any]) -> None:
        """Go on from the step of a checkpoint."""
        schema.keys(tree, ("step", "perturbations", "memory"), "the batches")
        schema.alike(tree["memory"], self.memory, "the memory")
        step = schema.within(tree["step"], 0, self.total, "the step")
        self.warm_starts.load(tree["perturbations"])
        self.step = step
        self.memory |= {name: t.to(self.device) for name, t in tree["memory"].items()}

    def _shuffle(self, epoch: int) -> None:
        rng = generator(self.seed, "shuffle", self.number, epoch)
        order = permutation(len(self.prefetch.examples), rng)
        self._order, self._exchanged = order.to(self.prefetch.index_device), 0

    def _rows(self, place: int) -> Tensor | None:
        """This process's examples of a step of this epoch; None past the epoch's end."""
        whole = self._order[place * self.size : (place + 1) * self.size]
        return whole[self._part] if place < self.per_epoch else None

    def _batch(self, place: int) -> Batch:
        index = self._rows(place)
        assert index is not None
        rng = generator(self.seed, "step", self.number, self.step, device=self.device)
        rng.part, rng.whole = self._part, self.size
        x = self.prefetch.images(index, self._rows(place + 1))
        index = index.to(self.device)
        warm_start = self.warm_starts.at(index)
        if self.stage.augmentation:
            moves = self.stage.augmentation.draw(x, rng)
            x = moves(x)
            warm_start = warm_start and replace(warm_start, there=moves, back=moves.back())
        return Batch(
            laid_out(x),
            self.labels[index],
            rng,
            self.step / self.total,
            warm_start,
            self.memory,
            self.group,
            self.fraction,
            self.step,
        )

    def _exchange(self) -> None:
        """Give every process the perturbations that the others found since the last exchange."""
        if not len(self._order):
            return
        done = self.step % self.per_epoch or self.per_epoch
        batches = self._order[: done * self.size].view(done, self.size)
        self.warm_starts.exchange(batches[self._exchanged :], self.group)
        self._exchanged = done
