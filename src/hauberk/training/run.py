"""A run: where and how a training runs, its progress callbacks, and its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hauberk.runtime.processes import ALONE, Group


class Watcher:
    """Progress callbacks; the default does nothing."""

    def stage(self, name: str, steps: int, done: int) -> None:
        """A stage begins.

        Args:
            name: of the stage.
            steps: it has in all.
            done: steps that were made before a resumed run stopped.
        """

    def step(self, metrics: Mapping[str, float] | None) -> None:
        """A step was made; the metrics are None on all but every 16th step."""

    def epoch(self, row: Mapping[str, float | int | str]) -> None:
        """An epoch ended with this row of the log."""

    def note(self, text: str) -> None:
        """The method reports a decision that it made before this stage, in one line."""


@dataclass(frozen=True)
class Run:
    """The settings of a training that are not mathematics: folder, seed, device, precision.

    Attributes:
        out: folder for checkpoints and logs; ``None`` keeps nothing.
        seed: random seed of every shuffle and random start.
        resume: go on from the folder's checkpoint, if there is one.
        device: ``None`` selects CUDA if it is available, else the CPU.
        bf16: run forward and backward passes in bfloat16 where that is safe (autocast).
        compiled: compile the network by ``torch.compile``: this takes minutes, then steps are
            faster on a GPU; rounding differs.
        tensorboard: also write TensorBoard events to the folder.
        identity: text that identifies the settings; a checkpoint with another one is refused.
        inputs: digests of data, start weights, network code and teacher by what they are of; a
            checkpoint with another of them is refused by name.
        watcher: progress callbacks.
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
    inputs: Mapping[str, str] = field(default_factory=dict)
    watcher: Watcher = field(default_factory=Watcher)
    group: Group = ALONE

    def place(self) -> torch.device:
        """The device this run computes on."""
        some = f"cuda:{self.group.local}" if self.group.size > 1 else "cuda"
        return self.device or torch.device(some if torch.cuda.is_available() else "cpu")

    @property
    def folder(self) -> Path | None:
        """The folder in the process that writes it, None in the others."""
        return self.out if self.group.first else None


@dataclass(frozen=True)
class Solution:
    """The result of a stage.

    Attributes:
        ok: whether the stage succeeded and the weights in the model satisfy its constraints.
        error: the one-line error of a stage that failed: what happened and what to try.
        history: one row per epoch.
        perturbations: those that the last attacks found, warm starts for the next stage.
    """

    ok: bool
    error: str
    history: list[dict[str, Any]]
    perturbations: Tensor


class TrainingFailed(ValueError):
    """A stage failed; the message says what happened and what to try."""
