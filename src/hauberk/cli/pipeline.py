"""A job: what one training verb does, from its flags to the folder with the file and its proof.

`hauberk train` and `hauberk compress` do one, `hauberk sweep` many on the same data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from hauberk import networks
from hauberk.artifact import Architecture, Artifact
from hauberk.artifact.state_dicts import is_plain
from hauberk.cli.console import Bars, bars
from hauberk.cli.run_folder import keep_rows, publish
from hauberk.cli.run_spec import RunSpec
from hauberk.dataset import Data
from hauberk.evaluation import Evaluation, Report, Row
from hauberk.evaluation.shipped_file import evaluate_file, read
from hauberk.methods import DA
from hauberk.plots import threat_weights
from hauberk.runtime.processes import ALONE, Group, destroy_process_group
from hauberk.verbs import compress
from hauberk.verbs.load import load

Shown = Callable[..., AbstractContextManager[Bars]]
"""Gives the bars of what goes on, by its label."""
_DENSE = "dense"


@dataclass(frozen=True)
class Given:
    """What jobs start from, read once.

    Attributes:
        data: under the class indices of the file to start from.
        net: the network to start from.
        own: the network of --model.
        trained: whether ``net`` was trained already.
        proved: the rows of dense nets, by file and proof: jobs from one net prove it once.
    """

    data: Data
    net: nn.Module
    own: nn.Module | None
    trained: bool
    proved: dict[str, Row] = field(default_factory=dict)

    @classmethod
    def read(cls, spec: RunSpec) -> Given:
        """The data of a run, and the network that it starts from.

        Raises:
            ValueError: data, a file or a network that cannot be used.
            OSError: a file that cannot be read.
        """
        data, own = spec.data.read(), spec.start.network(spec.seed)
        net, start = own, spec.start.checkpoint
        if start and not is_plain(start):
            artifact = Artifact.load(start)
            data = data.under(artifact.labels, artifact.classes)
            net = networks.module(artifact, start, own)
        elif start:
            net = load(start, own)
        assert net is not None
        return cls(data, net, own, bool(start))

    def seeded(self, spec: RunSpec) -> Given:
        """The same for another seed: a network that is not trained yet starts from it."""
        if self.trained:
            return self
        own = spec.start.network(spec.seed)
        assert own is not None
        return replace(self, net=own, own=own)


def make(
    spec: RunSpec,
    given: Given | None = None,
    shown: Shown = bars,
    command: str = "",
    group: Group = ALONE,
) -> Report | None:
    """Train or compress, evaluate, publish; the report, in the first of the processes.

    Args:
        spec: the run.
        given: what `Given.read` gave, if it is at hand.
        shown: where progress is seen.
        command: what the report calls its origin; by default this process's own.
        group: the processes that share the training; they part after it.

    Raises:
        ValueError: a setting makes no sense, the data do not fit, training failed.
        OSError: a file that cannot be read or written.
    """
    proof = spec.attacked()
    given = given or Given.read(spec)
    with shown() as bar:
        run = spec.run(group, bar)
        made = compress.compress(
            given.net,
            given.data,
            method=spec.method,
            threat=proof.threat,
            out=spec.out,
            pretrained=given.trained,
            run=run,
        )
    destroy_process_group()
    if not group.first:
        return None
    spec.save()
    if threat_weights.named(made.history):
        threat_weights.draw(made.history, spec.out / "domains.png")
    proving = _Proving(given, proof, made.dense, run.place(), shown)
    rows = [proving(name, path) for name, path in _files(spec, given, made).items()]
    return publish(spec.out, rows, given.data, spec.seed, run.place(), command=command)


def _files(spec: RunSpec, given: Given, made: compress.Compressed) -> dict[str, Path]:
    """What is evaluated, by the names of the rows: the file that ships last."""
    assert made.path is not None
    ships = {type(spec.method).__name__: made.path}
    if isinstance(spec.method, DA):
        return ships
    dense = compress.encode(made.dense, given.data, Architecture.of(given.net))
    return keep_rows(spec.out, {_DENSE: dense}) | ships


@dataclass(frozen=True)
class _Proving:
    """Gives the row of a file; that of a dense net that an earlier job proved, too, at once."""

    given: Given
    proof: Evaluation
    source: nn.Module
    place: torch.device
    shown: Shown

    def __call__(self, name: str, path: Path) -> Row:
        if name != _DENSE:
            return self._measured(name, path)
        key = f"{hashlib.sha256(path.read_bytes()).hexdigest()} {self.proof}"
        if key not in self.given.proved:
            self.given.proved[key] = self._measured(name, path)
        return replace(self.given.proved[key], file=str(path))

    def _measured(self, name: str, path: Path) -> Row:
        with self.shown(name) as bar:
            return evaluate_file(
                read(path, self.given.own),
                self.given.data,
                self.proof,
                source=self.source,
                name=name,
                device=self.place,
                progress=bar.seen,
            )
