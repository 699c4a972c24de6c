"""The two steps of a row: train the network and write its file; measure the decoded file."""

from __future__ import annotations

import csv
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import hauberk as hb
from benchmarks.table import Entry, Table
from hauberk.cli.console import bars, say
from hauberk.nested import settings
from hauberk.runtime.device import bf16_in_software
from hauberk.verbs import compress
from hauberk.verbs.pipeline import Pipeline


def train(table: Table, name: str, data: hb.Data) -> None:
    """Write the row's file, unless it exists."""
    entry, path = table.entries[name], table.file(name)
    if path.exists():
        return
    if entry.mean:
        _average(table, entry, path, data)
        return
    start = time.perf_counter()
    try:
        _compress(table, name, data)
    except hb.TrainingFailed as failure:  # recorded: a failed training is a result, too
        failed = {"name": name, "failed": str(failure)}
        table.keep(name, {**failed, **_history(entry, table.folder(name))})
        return
    (path.parent / "seconds").write_text(f"{time.perf_counter() - start:.0f}\n")
    say(f"{name}: {path.stat().st_size:,} bytes")


def measure(table: Table, name: str, data: hb.Data) -> None:
    """Evaluate the row's file by every protocol of the table, unless that was done."""
    entry, path = table.entries[name], table.file(name)
    if table.finished(name) or not entry.measured:
        return
    source = hb.load(table.file(entry.source)) if entry.source else None
    rows = {
        key: Pipeline(data, protocol).row(name, path, source).json()
        for key, protocol in table.protocols.items()
    }
    first, *others = rows
    row = {**rows[first], **{key: rows[key]["robust"] for key in others}}
    table.keep(name, {**row, **_history(entry, path.parent), **table.notes(path)})
    robust = ", ".join(f"{key} {row['robust']['accuracy']:.1%}" for key, row in rows.items())
    say(f"{name}: {row['bytes']:,} bytes, {robust}")


def _compress(table: Table, name: str, data: hb.Data) -> None:
    entry = table.entries[name]
    net = hb.models.build(entry.model, seed=entry.seed)
    if entry.start:
        net = hb.load(table.file(entry.start))
    some = replace(
        data,
        train=data.train.first(entry.images),
        validation=data.validation.first(table.watched),
    )
    bf16 = table.bf16 and not bf16_in_software(hb.Run().place())
    with bars(name) as bar:
        hb.compress(
            net,
            some,
            method=entry.method,
            threat=entry.threat or table.threat,
            out=table.folder(name),
            pretrained=entry.start is not None,
            run=hb.Run(
                seed=entry.seed, bf16=bf16, resume=True, identity=entry.identity, watcher=bar
            ),
        )


def _average(table: Table, entry: Entry, path: Path, data: hb.Data) -> None:
    """The mean of other rows' parameters, as a file."""
    nets = [(weight, hb.load(table.file(name))) for name, weight in entry.mean.items()]
    _, net = nets[0]
    states = [(weight, each.state_dict()) for weight, each in nets]
    mean = {key: sum(weight * state[key] for weight, state in states) for key in net.state_dict()}
    net.load_state_dict(mean)
    path.parent.mkdir(parents=True, exist_ok=True)
    compress.encode(net, data, hb.artifact.Architecture.of(net)).save(path)


def _history(entry: Entry, folder: Path) -> dict[str, Any]:
    """How the row was trained: settings, seconds, epochs, how much of the support changed."""
    log, rows = folder / "metrics.csv", list[dict[str, str]]()
    if log.exists():
        with log.open() as file:
            rows = list(csv.DictReader(file))
    changes = [round(float(r["support_change"]), 4) for r in rows if r.get("support_change")]
    seconds = folder / "seconds"
    return {
        "method": type(entry.method).__name__,
        "model": entry.model,
        "start": entry.start,
        "mean": dict(entry.mean),
        "settings": settings(entry.method),
        "seed": entry.seed,
        "training_images": entry.images,
        "train_seconds": int(seconds.read_text()) if seconds.exists() else None,
        "epochs": len(rows),
        "support_change_by_epoch": changes,
    }
