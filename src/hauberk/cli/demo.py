"""``hauberk demo``: a robust net, pruned naively and compressed well, each file evaluated.

The nets are too small to gain from a second thread: after the dense net, each row is made and
evaluated by a process of its own, on one thread.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch

from hauberk import models
from hauberk.attacks import PGD
from hauberk.cli.console import bars, say
from hauberk.data import load as load_data
from hauberk.evaluation import Evaluation, Report, Row
from hauberk.method import Method
from hauberk.methods import AL0, AP, ATMC, DA
from hauberk.runtime import files
from hauberk.runtime.lock import locked
from hauberk.runtime.signals import raised
from hauberk.threats import Linf
from hauberk.training.run import Run
from hauberk.verbs.compress import FILE
from hauberk.verbs.load import load
from hauberk.verbs.pipeline import Pipeline

THREAT = Linf(0.1)
_SHARED: dict[str, Any] = {"batch_size": 64, "lr": 4e-3, "attack_steps": 4}
DENSE = DA().with_(epochs=40, **_SHARED)
SHIPPED = "atmc-2%"
LADDER: Mapping[str, Method] = {
    "naive-2%": AP(keep=0.033).with_(epochs=0),
    "al0-2%": AL0(keep=0.033).with_(epochs=30, **_SHARED),
    "atmc-2%": ATMC(keep=0.08, bits=4, codebook_epochs=6).with_(epochs=24, **_SHARED),
    "al0-1%": AL0(keep=0.0157).with_(epochs=30, **_SHARED),
    "atmc-1%": ATMC(keep=0.0325, bits=4, codebook_epochs=6).with_(epochs=24, **_SHARED),
}
"""Rows by name; the name states the fraction of the dense float32 bytes that the file may take."""


def demo(out: Path, seed: int = 0) -> Report:
    """Train, compress five ways, write the files, and evaluate them.

    Args:
        out: folder for ``model.hbk``, ``rows/``, the report and the picture.
        seed: random seed of every shuffle and random start.
    """
    with locked(out):
        return _made(out, seed)


def _made(out: Path, seed: int) -> Report:
    """The same, in a folder that is this run's."""
    files.ready(out)
    say(f"A dense net, trained on digits against {THREAT} …")
    _dense(out, seed)
    say("Compressed five ways; each file, decoded, attacked by AutoAttack and PGD-40 …")
    rows: dict[str, Row] = {}
    with bars("files") as bar:
        bar.seen(0, 1 + len(LADDER), "made and evaluated")
        for row in _each(out, seed):
            assert row.name
            rows[row.name] = row
            say(f"  {row.name}: {row.bytes:,} bytes, {row.robust.accuracy:.0%} robust")
            bar.seen(len(rows), 1 + len(LADDER), "made and evaluated")
    ordered = [rows[name] for name in ("dense", *LADDER)]
    return _pipeline(seed).report(
        out,
        ordered,
        command=" ".join(["hauberk", *sys.argv[1:]]),
        title="Robust digits, from dense to 1%",
    )


def _pipeline(seed: int) -> Pipeline:
    evaluation = Evaluation(
        THREAT,
        str(THREAT),
        {"pgd:40": PGD(40, track=True)},
        autoattack=True,
        autoattack_limit=100,
        check_limit=100,
        seed=seed,
    )
    return Pipeline(load_data("digits"), evaluation)


def _dense(out: Path, seed: int) -> None:
    with bars("dense") as bar:
        run = Run(seed=seed, watcher=bar)
        net = models.build("digits-cnn", seed=seed)
        _pipeline(seed).make(net, DENSE, _path(out, "dense"), run=run)


def _each(out: Path, seed: int) -> Iterator[Row]:
    """The rows as they finish, made by one process per core (a single one for a GPU)."""
    workers = 1 if torch.cuda.is_available() else min(os.cpu_count() or 1, 1 + len(LADDER))
    fresh, others = multiprocessing.get_context("spawn"), multiprocessing.active_children()
    with raised(), ProcessPoolExecutor(workers, fresh, _leave_with_parent) as pool:
        done: list[Future[Row]] = [
            pool.submit(make, out, name, seed) for name in ("dense", *LADDER)
        ]
        try:
            for row in as_completed(done):
                yield row.result()
        except BaseException:
            for worker in set(multiprocessing.active_children()).difference(others):
                worker.terminate()
            raise


def _leave_with_parent() -> None:
    """End this worker when its parent is gone, even if that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def make(out: Path, name: str, seed: int) -> Row:
    """One row: write its file, made from the dense net's, and evaluate that.

    Args:
        out: folder of the files.
        name: of the row: ``dense``, or a key of `LADDER`.
        seed: random seed of every shuffle and random start.
    """
    torch.set_num_threads(1)
    source, path, pipeline = load(_path(out, "dense")), _path(out, name), _pipeline(seed)
    if name in LADDER:
        pipeline.make(source, LADDER[name], path, pretrained=True, run=Run(seed=seed))
    return pipeline.row(name, path, source)


def _path(out: Path, name: str) -> Path:
    return out / FILE if name == SHIPPED else out / "rows" / f"{name}.hbk"
