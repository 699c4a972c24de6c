"""From a network to the row of a report: train, write, decode, attack, report.

The command, its sweep, the demo and the benchmarks all go through `Pipeline`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from hauberk.dataset import Data
from hauberk.evaluation import Evaluation, Progress, Report, Row, provenance, silent
from hauberk.evaluation.shipped_file import evaluate_file, read
from hauberk.method import Method
from hauberk.plots.tradeoff import tradeoff
from hauberk.training.run import Run
from hauberk.verbs.compress import Compressed, compress

PICTURE = "tradeoff.png"


@dataclass(frozen=True)
class Pipeline:
    """The data, evaluation and device common to all rows of a report.

    Attributes:
        data: trained on, and attacked.
        evaluation: how each file is attacked; its threat is also the one of the training.
        own: the user's own module, for files that name no architecture.
        device: where files are attacked; by default CUDA if available, else the CPU.
    """

    data: Data
    evaluation: Evaluation
    own: nn.Module | None = None
    device: torch.device | None = None

    def make(
        self,
        net: nn.Module,
        method: Method,
        path: Path | None = None,
        *,
        pretrained: bool = False,
        run: Run | None = None,
    ) -> Compressed:
        """Train or compress a network and write its file.

        Args:
            net: the network to start from; it is copied, not changed.
            method: how it is trained.
            path: of the file; by default ``model.hbk`` in the run's folder.
            pretrained: whether the network is trained already.
            run: seed, device, folder for checkpoints and logs.

        Raises:
            ValueError: data that do not fit, invalid settings, or a failed training.
            OSError: a file that cannot be written.
        """
        run = run or Run()
        made = compress(
            net,
            self.data,
            threat=self.evaluation.threat,
            method=method,
            out=run.out,
            pretrained=pretrained,
            run=run,
        )
        if path is not None:
            made.artifact.save(path)
        return made

    def row(
        self,
        name: str,
        path: Path,
        source: nn.Module | None = None,
        progress: Progress = silent,
    ) -> Row:
        """Decode a file and attack it.

        Args:
            name: of the row.
            path: of the file.
            source: the dense net, from which attacks are transferred.
            progress: called with each step's fraction of its own work.

        Raises:
            ValueError: a damaged file, or data that do not fit.
            OSError: a file that cannot be read.
        """
        opened = read(path, self.own)
        return evaluate_file(
            opened,
            self.data,
            self.evaluation,
            source=source,
            name=name,
            device=self.device,
            progress=progress,
        )

    def report(self, out: Path, rows: Sequence[Row], *, command: str, title: str = "") -> Report:
        """Write ``report.json``, ``report.md`` and ``tradeoff.png`` into a folder.

        Args:
            out: the folder.
            rows: at least one.
            command: that reproduces the report.
            title: of the picture; by default the threat and the attack.

        Raises:
            OSError: a file that cannot be written.
        """
        device = str(self.device or Run().place())
        seed, data = self.evaluation.seed, self.data.name
        report = Report(rows, provenance(command=command, seed=seed, data=data, device=device))
        report.save(out)
        tradeoff(rows, out / PICTURE, title=title)
        return report
