"""A run: where and how a training goes, who watches it, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hauberk.runtime.processes import ALONE, Group

CHECK_EVERY = 16  # steps between looks at the loss: a look waits for the device


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
        group: the processes that share the run, see `hauberk.runtime.processes.joined`; the
            first of them reads and writes the folder.
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
