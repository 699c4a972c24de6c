"""How a problem is solved: what a solver, a stage and a run are. `hauberk.loop` runs them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from hauberk.group import ALONE, Group
from hauberk.problem import Problem
from hauberk.types import Batch

Metrics = Mapping[str, Tensor]
CHECK_EVERY = 16  # steps between looks at the loss: a look waits for the device


class State(ABC):
    """A solver's mutable memory; it is all that a resumed run needs beside the weights."""

    @abstractmethod
    def tree(self) -> dict[str, Any]:
        """Nested dicts of tensors and numbers, for the checkpoint."""

    @abstractmethod
    def load(self, tree: dict[str, Any]) -> None:
        """Take back what `tree` gave."""


S = TypeVar("S", bound=State)


class Solver(ABC, Generic[S]):
    """An algorithm that sees an objective and structures, and nothing of what they mean."""

    @abstractmethod
    def init(self, problem: Problem, model: nn.Module) -> S:
        """The memory at the start of a stage."""

    @abstractmethod
    def step(self, problem: Problem, model: nn.Module, batch: Batch, state: S) -> Metrics:
        """One step on one batch, in place; the metrics hold ``loss``, detached, on the device."""

    @abstractmethod
    def finish(self, problem: Problem, model: nn.Module, state: S) -> None:
        """Leave weights in ``model`` that satisfy every constraint of the problem."""


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


class Watcher:
    """Looks on while a run goes; the default sees nothing."""

    def stage(self, name: str, steps: int, done: int) -> None:
        """A stage of ``steps`` steps begins, ``done`` of them made before."""

    def step(self, metrics: Mapping[str, float] | None) -> None:
        """A step was made; the metrics come every `CHECK_EVERY` steps."""

    def epoch(self, row: Mapping[str, float | int | str]) -> None:
        """An epoch ended with this row of the log."""


@dataclass(frozen=True)
class Run:
    """Where and how a run goes: everything that is not mathematics.

    Attributes:
        out: folder for checkpoints and logs; ``None`` keeps nothing.
        seed: of every shuffle and random start.
        resume: go on from the folder's checkpoint where there is one.
        device: ``None`` is CUDA where there is any, else the CPU.
        bf16: run forward and backward passes in bfloat16 where that is safe (autocast).
        compiled: let ``torch.compile`` make kernels of the network, for the steps of this machine's
            shapes: some minutes first, then faster on a GPU; rounding differs.
        tensorboard: also write TensorBoard events to the folder.
        identity: what run this is; a checkpoint of another run is refused.
        watcher: told of progress.
        group: the processes that share the run, see `hauberk.group.joined`; the first of them
            reads and writes the folder.
    """

    out: Path | None = None
    seed: int = 0
    resume: bool = False
    device: torch.device | None = None
    bf16: bool = False
    compiled: bool = False
    tensorboard: bool = False
    identity: str = ""
    watcher: Watcher = field(default_factory=Watcher)
    group: Group = ALONE

    def place(self) -> torch.device:
        """The device this run computes on."""
        some = f"cuda:{self.group.local}" if self.group.size > 1 else "cuda"
        return self.device or torch.device(some if torch.cuda.is_available() else "cpu")

    @property
    def folder(self) -> Path | None:
        """Where this process writes, if it is the one that does."""
        return self.out if self.group.first else None


@dataclass(frozen=True)
class Solution:
    """How a stage ended.

    Attributes:
        ok: whether the weights in the model are what was asked for.
        sentence: for a run that diverged or collapsed: what happened and what to try.
        history: one row per epoch.
        ends: where the last attack on each example ended, for a next stage that reuses them.
    """

    ok: bool
    sentence: str
    history: list[dict[str, Any]]
    ends: Tensor


class TrainingFailed(ValueError):
    """A stage diverged or collapsed; the message says what happened and what to try."""
