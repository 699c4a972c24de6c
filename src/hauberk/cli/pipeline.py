"""One run of the command: from its settings to the folder with the file and its report.

`hauberk train` and `hauberk compress` do one run, `hauberk sweep` many on the same data.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property

from torch import nn

from hauberk import networks
from hauberk.artifact import Artifact
from hauberk.artifact.state_dicts import is_plain
from hauberk.cli.console import Bars, bars
from hauberk.cli.run_spec import RunSpec
from hauberk.dataset import Data
from hauberk.evaluation import Report, Row
from hauberk.methods import DA
from hauberk.plots import threat_weights
from hauberk.runtime.lock import locked
from hauberk.runtime.processes import ALONE, Group, destroy_process_group
from hauberk.verbs.compress import Compressed, shipped
from hauberk.verbs.load import load
from hauberk.verbs.pipeline import Pipeline
from hauberk.verbs.run_inputs import run_inputs

Shown = Callable[..., AbstractContextManager[Bars]]
"""Opens progress bars under a label."""
_DENSE = "dense"


@dataclass(frozen=True)
class Given:
    """The data and networks that runs start from, read once.

    Attributes:
        data: with the class indices of the file to start from.
        net: the network to start from.
        own: the network of --model.
        trained: whether ``net`` is trained already.
        evaluated: rows of dense nets, by file and evaluation: runs from one net evaluate it once.
    """

    data: Data
    net: nn.Module
    own: nn.Module | None
    trained: bool
    evaluated: dict[str, Row] = field(default_factory=dict)

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Digests of what the runs are made of."""
        return run_inputs(self.net, self.data, self.trained)

    @classmethod
    def read(cls, spec: RunSpec) -> Given:
        """The data of a run, and the network that it starts from.

        Raises:
            ValueError: data, a file or a network that cannot be used.
            OSError: a file that cannot be read.
        """
        own, start = spec.start.network(spec.seed), spec.start.checkpoint
        artifact = Artifact.load(start) if start and not is_plain(start) else None
        recorded = artifact.about.photographs if artifact else None
        data, net = spec.data.read(spec.task == "classes", recorded), own
        if artifact:
            data = data.under(artifact.about.labels, artifact.about.classes)
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
        given: the result of `Given.read`; by default it is read here.
        shown: opens the progress bars.
        command: that reproduces the report; by default this process's own.
        group: the processes that train together; the group is destroyed after training.

    Raises:
        ValueError: a setting makes no sense, the data do not fit, training failed.
        OSError: a file that cannot be read or written, or a folder that another run writes into.
    """
    with locked(spec.out, group):
        return _made(spec, given or Given.read(spec), shown, command, group)


def _made(spec: RunSpec, given: Given, shown: Shown, command: str, group: Group) -> Report | None:
    """The same, in a folder that is this run's."""
    with shown() as bar:
        run = replace(spec.run(group, bar), out=spec.out)
        pipeline = Pipeline(given.data, spec.attacked(), given.own, run.place())
        made = pipeline.make(given.net, spec.method, pretrained=given.trained, run=run)
    destroy_process_group()
    if not group.first:
        return None
    spec.save()
    if threat_weights.named(made.history):
        threat_weights.draw(made.history, spec.out / "threat-weights.png")
    rows = list(_rows(spec, pipeline, given, made, shown))
    return pipeline.report(spec.out, rows, command=command or " ".join(["hauberk", *sys.argv[1:]]))


def _rows(
    spec: RunSpec, pipeline: Pipeline, given: Given, made: Compressed, shown: Shown
) -> Iterator[Row]:
    """The dense net, if something was compressed; then the file that ships."""
    assert made.ships is not None
    if spec.verb == "compress" and not isinstance(spec.method, DA):
        yield _dense_row(spec, pipeline, given, made, shown)
    name = type(spec.method).__name__
    with shown(name) as bar:
        yield pipeline.row(name, made.ships, made.dense, bar.seen)


def _dense_row(
    spec: RunSpec, pipeline: Pipeline, given: Given, made: Compressed, shown: Shown
) -> Row:
    """The row of the dense net, which is written, too; an earlier run's for an equal file."""
    path = spec.out / "rows" / f"{_DENSE}.hbk"
    artifact = shipped(made.dense, given.data)
    artifact.save(path)
    key = f"{hashlib.sha256(artifact.content).hexdigest()} {pipeline.evaluation}"
    if key not in given.evaluated:
        with shown(_DENSE) as bar:
            given.evaluated[key] = pipeline.row(_DENSE, path, made.dense, bar.seen)
    return replace(given.evaluated[key], file=str(path))
