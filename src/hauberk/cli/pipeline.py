"""A job: what one training verb does, from its flags to the folder with the file and its proof.

`hauberk train` and `hauberk compress` do one, `hauberk sweep` many on the same data.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hauberk import networks
from hauberk.artifact import Architecture, Artifact
from hauberk.artifact.state_dicts import is_plain
from hauberk.cli import resolve, run_file
from hauberk.cli.console import Bars, bars
from hauberk.cli.run_folder import keep_rows, publish
from hauberk.dataset import Data
from hauberk.evaluation import Evaluation, Report, Row
from hauberk.evaluation.shipped_file import prove, read
from hauberk.methods import DA
from hauberk.plots import threat_weights
from hauberk.runtime.processes import ALONE, Group, leave
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
    def read(cls, flags: Any, start: str) -> Given:
        """The data of the flags, and the network: that of --model, or the one in ``start``.

        Raises:
            ValueError: data, a file or a network that cannot be used.
            OSError: a file that cannot be read.
        """
        data, own = resolve.data(flags), resolve.own(flags)
        net = own
        if start and not is_plain(start):
            artifact = Artifact.load(start)
            data = data.under(artifact.labels, artifact.classes)
            net = networks.module(artifact, start, own)
        elif start:
            net = load(start, own)
        assert net is not None
        return cls(data, net, own, bool(start))

    def seeded(self, flags: Any) -> Given:
        """The same for another seed: a network that is not trained yet starts from it."""
        if self.trained:
            return self
        own = resolve.own(flags)
        assert own is not None
        return replace(self, net=own, own=own)


def make(
    flags: Any,
    verb: str,
    start: str,
    given: Given | None = None,
    shown: Shown = bars,
    command: str = "",
    group: Group = ALONE,
) -> Report | None:
    """Train or compress, prove, publish; the report, in the first of the processes that share it.

    Args:
        flags: of the verb, with the method's in ``settings``.
        verb: for the settings that are left beside the results.
        start: the trained net to start from; nothing trains one first.
        given: what `Given.read` gave, where it is at hand.
        shown: where progress is seen.
        command: what the report calls its origin; by default this process's own.
        group: the processes that share the training; they part after it.

    Raises:
        ValueError: a setting makes no sense, the data do not fit, training failed.
        OSError: a file that cannot be read or written.
    """
    threat = resolve.threat(flags.threat)
    proof = resolve.proof(flags, threat)
    given = given or Given.read(flags, start)
    place = resolve.device(flags.device, group)
    with shown() as bar:
        what = (
            f"{flags.settings} {flags.model} {start} {flags.data} {flags.on_error} {flags.threat}"
        )
        made = compress.compress(
            given.net,
            given.data,
            method=flags.settings,
            threat=threat,
            out=flags.out,
            pretrained=given.trained,
            run=resolve.run(flags, place, what, bar, group),
        )
    leave()
    if not group.first:
        return None
    run_file.save(flags.out, verb, flags)
    if threat_weights.named(made.history):
        threat_weights.draw(made.history, flags.out / "domains.png")
    proving = _Proving(given, proof, made.dense, place, shown)
    rows = [proving(name, path) for name, path in _files(flags, given, made).items()]
    return publish(flags.out, rows, given.data, flags.seed, place, command=command)


def _files(flags: Any, given: Given, made: compress.Compressed) -> dict[str, Path]:
    """What is proved, by the names of the rows: the file that ships last."""
    assert made.path is not None
    ships = {type(flags.settings).__name__: made.path}
    if isinstance(flags.settings, DA):
        return ships
    dense = compress.encode(made.dense, given.data, Architecture.of(given.net))
    return keep_rows(flags.out, {_DENSE: dense}) | ships


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
            return prove(
                read(path),
                self.given.data,
                self.proof,
                source=self.source,
                name=name,
                model=copy.deepcopy(self.given.own),
                device=self.place,
                progress=bar.seen,
            )
