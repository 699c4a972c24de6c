"""A table of rows, each trained once, written as a file, and measured once on the decoded file."""

from __future__ import annotations

import argparse
import csv
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

import hauberk as hb
from _record import record
from hauberk.cli.console import bars, say
from hauberk.evaluation import Evaluation
from hauberk.evaluation.shipped_file import prove, read
from hauberk.runtime.device import bf16_in_software
from hauberk.verbs import compress


@dataclass(frozen=True)
class Entry:
    """One row.

    Attributes:
        method: with its settings.
        model: the network, where it starts afresh.
        start: the row whose file it starts from, if any.
        seed: of everything.
        source: the row whose adversarial examples are transferred to it, as a check.
        mean: in place of training: other rows, and the share of each in the mean of their weights
            (a model soup: Wortsman et al., 2022, arXiv 2203.05482).
        threat: that it is trained against, where that is not the series' own.
        images: how many of the first training images it is trained on; None is all.
    """

    method: hb.Method
    model: str
    start: str | None = None
    seed: int = 0
    source: str | None = None
    mean: Mapping[str, float] = field(default_factory=dict)
    threat: hb.threat.Threat | None = field(default=None, repr=False)
    images: int | None = None


@dataclass(frozen=True)
class Series:
    """The rows of a table.

    Attributes:
        work: folder for the runs; what is finished there is not done again.
        threat: what the adversary may do.
        entries: the rows by name.
        proofs: how each is measured; the first makes the row, the others add ``robust`` under
            their name.
        more: anything else to note of a finished file.
        last: what is measured once the rows are there.
        bf16: whether rows train in bfloat16 where that is safe and the hardware has it; very small
            nets are no faster.
        watched: how many validation images are watched while a row trains, for its log; they may
            take as long as the training where this is of few images. None is as many as there are.
    """

    work: Path
    threat: hb.threat.Threat
    entries: Mapping[str, Entry]
    proofs: Mapping[str, Evaluation]
    more: Callable[[Path], dict[str, Any]] = lambda path: {}
    last: Callable[[hb.Data], None] = lambda data: None
    bf16: bool = True
    watched: int | None = None

    def file(self, name: str) -> Path:
        """The row's file."""
        return self.work / name / compress.FILE

    def train(self, name: str, data: hb.Data) -> None:
        """Make the row's file, if it is not there."""
        entry, path = self.entries[name], self.file(name)
        if path.exists():
            return
        if entry.mean:
            self._average(entry, path, data)
            return
        train, held_out = data.train.first(entry.images), data.validation.first(self.watched)
        net = hb.models.build(entry.model, seed=entry.seed)
        if entry.start:
            net = hb.load(self.file(entry.start))
        start = time.perf_counter()
        identity = f"{entry!r} {entry.threat}" if entry.threat else repr(entry)
        with bars(name) as bar:
            bf16 = self.bf16 and not bf16_in_software(hb.Run().place())
            run = hb.Run(seed=entry.seed, bf16=bf16, resume=True, identity=identity, watcher=bar)
            try:
                hb.compress(
                    net,
                    replace(data, train=train, validation=held_out),
                    method=entry.method,
                    threat=entry.threat or self.threat,
                    out=path.parent,
                    pretrained=entry.start is not None,
                    run=run,
                )
            except hb.TrainingFailed as failure:  # a row, too: it says what became of it
                self._keep(name, {"name": name, "failed": str(failure), **self._history(name)})
                return
        (path.parent / "seconds").write_text(f"{time.perf_counter() - start:.0f}\n")
        say(f"{name}: {path.stat().st_size:,} bytes")

    def _average(self, entry: Entry, path: Path, data: hb.Data) -> None:
        nets = {share: hb.load(self.file(name)) for name, share in entry.mean.items()}
        states = {share: net.state_dict() for share, net in nets.items()}
        net = next(iter(nets.values()))
        mean = {key: sum(share * s[key] for share, s in states.items()) for key in net.state_dict()}
        net.load_state_dict(mean)
        path.parent.mkdir(parents=True, exist_ok=True)
        compress.encode(net, data, hb.artifact.Architecture.of(net)).save(path)

    def measure(self, name: str, data: hb.Data) -> None:
        """What the decoded file withstands, if it is not known."""
        if self._row(name).exists():
            return
        entry, path = self.entries[name], self.file(name)
        opened, source = read(path), hb.load(self.file(entry.source)) if entry.source else None
        rows = {
            key: prove(opened, data, proof, source=source, name=name).json()
            for key, proof in self.proofs.items()
        }
        first, *others = rows
        row = {**rows[first], **{key: rows[key]["robust"] for key in others}}
        self._keep(name, {**row, **self._history(name), **self.more(path)})
        shares = {key: f"{found['robust']['accuracy']:.1%}" for key, found in rows.items()}
        say(f"{name}: {row['bytes']:,} bytes, {row['attacks']} {shares}")

    def finished(self) -> list[dict[str, Any]]:
        """The rows that are there, in order."""
        return [json.loads(self._row(n).read_text()) for n in self.entries if self._row(n).exists()]

    def record(self, path: Path, about: str, **more: Any) -> None:
        """Write the finished rows, and what is made of them, as the JSON of a script's docstring.

        Args:
            path: the file.
            about: the docstring: its first paragraph is the claim, its second the command.
            **more: what else the results hold, by name.
        """
        claim, command = about.split("\n\n")[:2]
        results = {**more, "rows": self.finished()}
        record(path, claim, results, command=command.strip())

    def main(self, about: str, publish: Callable[[], None]) -> None:
        """Train, measure and publish the rows that are asked for."""
        parser = argparse.ArgumentParser(description=about)
        parser.add_argument("--data", required=True, help="the common prefix of the parquet files")
        parser.add_argument("--rows", default=";".join(self.entries), help="names, ; between them")
        parser.add_argument("--steps", default="train,measure,publish")
        parser.add_argument("--threads", type=int, default=2)
        flags = parser.parse_args()
        torch.set_num_threads(flags.threads)
        data = hb.data.load(flags.data)
        for name in flags.rows.split(";"):
            if "train" in flags.steps:
                self.train(name, data)
            if "measure" in flags.steps:
                self.measure(name, data)
        if "measure" in flags.steps:
            self.last(data)
        if "publish" in flags.steps:
            publish()

    def _row(self, name: str) -> Path:
        return self.work / name / "row.json"

    def _keep(self, name: str, row: dict[str, Any]) -> None:
        self._row(name).write_text(json.dumps(row))

    def _history(self, name: str) -> dict[str, Any]:
        """How the row was trained: its settings, its seconds, how alive its support was."""
        entry, folder = self.entries[name], self.work / name
        log, rows = folder / "metrics.csv", list[dict[str, str]]()
        if log.exists():
            with log.open() as file:
                rows = list(csv.DictReader(file))
        alive = [round(float(r["support_change"]), 4) for r in rows if r.get("support_change")]
        seconds = folder / "seconds"
        return {
            "method": type(entry.method).__name__,
            "model": entry.model,
            "start": entry.start,
            "mean": dict(entry.mean),
            "settings": asdict(entry.method),
            "seed": entry.seed,
            "training_images": entry.images,
            "train_seconds": int(seconds.read_text()) if seconds.exists() else None,
            "epochs": len(rows),
            "support_change_by_epoch": alive,
        }


def by_seeds(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The rows that ended well and name a seed, ``…, seed 1…``, by their names without it."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        name, seeds = re.subn(r", seed \d+", "", row["name"])
        if seeds and "failed" not in row:
            found.setdefault(name, []).append(row)
    return found


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and standard deviation; one value has no deviation."""
    return {"mean": mean(values), "sd": stdev(values) if len(values) > 1 else None}


def clean_split(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Clean accuracy on the whole test split, where fewer images were attacked, too."""
    return row.get("clean_split") or row["clean"]


def over_seeds(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """By name: bytes, seconds; clean accuracy and under each attack, mean and deviation."""
    return {
        name: {
            "bytes": [row["bytes"] for row in same],
            "train_seconds": [row["train_seconds"] for row in same],
            "clean": spread([clean_split(row)["accuracy"] for row in same]),
            "attacks": {
                attack: spread([row["attacks"][attack]["accuracy"] for row in same])
                for attack in same[0]["attacks"]
            },
        }
        for name, same in by_seeds(rows).items()
    }
