"""Validation: the objective on held-out examples at the end of each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.batch import Batch
from hauberk.dataset import Data
from hauberk.ops.random import generator
from hauberk.runtime import schema
from hauberk.runtime.device import autocast, laid_out
from hauberk.training.run import Run
from hauberk.training.stage import Stage
from hauberk.training.warm_starts import REHEARSALS, WarmStarts

HELD_OUT = 1000
"""Examples of the validation split that are measured."""

_AGAIN = 2
"""Attacks in a row on a held-out example that was attacked an epoch ago: the weights have moved."""


class Validation:
    """Measures the stage's own objective, training attack included, on held-out examples.

    Where training attacks use warm starts, these do too: the same examples are attacked every
    epoch, each attack from the perturbation that the one before it found. The first epoch has none,
    so it attacks `REHEARSALS` times in a row.

    Args:
        stage: whose objective is measured.
        number: of the stage in its method; part of the random seeds.
        data: at most `HELD_OUT` examples of its validation split are used.
        run: seed, device and precision.
    """

    def __init__(self, stage: Stage, number: int, data: Data, run: Run) -> None:
        self.objective, self.number, self.run = stage.problem.objective, number, run
        self.device = run.place()
        self.examples = data.validation.first(HELD_OUT).to(self.device)
        searches = self.objective.searches()
        self.warm_starts = WarmStarts(self.examples, stage.reuse, searches, self.device)
        self.rehearsed = False

    @torch.no_grad()
    def measure(
        self, model: nn.Module, epoch: int, memory: Mapping[str, Tensor]
    ) -> dict[str, float]:
        """The validation metrics after an epoch.

        Args:
            model: is set to eval mode.
            epoch: from 1.
            memory: of the objective, as training left it; it stays as it is.

        Returns:
            ``val_loss`` and the objective's metrics, each with ``val_`` before its name; nothing
            where the data have no validation split.
        """
        if not len(self.examples):
            return {}
        model.eval()
        with autocast(self.device, self.run.bf16):
            batch = self._batch(epoch, memory)
            for _ in range(self._attacks()):
                loss = self.objective(model, batch)
        self.rehearsed = True
        return {f"val_{k}": float(v) for k, v in {"loss": loss.value, **loss.metrics}.items()}

    def tree(self) -> dict[str, Any]:
        """The perturbations of the held-out examples."""
        return {"perturbations": self.warm_starts.perturbations, "rehearsed": self.rehearsed}

    def load(self, tree: dict[str, Any]) -> None:
        """Go on from the perturbations of a checkpoint."""
        schema.keys(tree, ("perturbations", "rehearsed"), "the validation")
        schema.alike(tree["rehearsed"], self.rehearsed, "rehearsed")
        self.warm_starts.load(tree["perturbations"])
        self.rehearsed = tree["rehearsed"]

    def _attacks(self) -> int:
        if not self.warm_starts.reuse:
            return 1
        return _AGAIN if self.rehearsed else REHEARSALS

    def _batch(self, epoch: int, memory: Mapping[str, Tensor]) -> Batch:
        return Batch(
            laid_out(self.examples.images()),
            self.examples.y,
            generator(self.run.seed, "validate", self.number, epoch - 1, device=self.device),
            warm_start=self.warm_starts.at(torch.arange(len(self.examples), device=self.device)),
            memory={name: t.clone() for name, t in memory.items()},
        )
