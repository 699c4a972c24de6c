"""``hauberk demo``: a robust net, the same net pruned naively, and ours, each as a file, proved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import nn

from hauberk import api, models
from hauberk.artifact import Artifact
from hauberk.attacks import PGD
from hauberk.console import bars, say
from hauberk.data import load
from hauberk.evaluate import Proof, Report
from hauberk.methods import AL0, AP, ATMC, DA, Method
from hauberk.runs import keep_rows, prove, publish
from hauberk.solve import Run
from hauberk.threats import Linf
from hauberk.types import Data

THREAT = Linf(0.1)
DENSE = DA(epochs=30, batch_size=64, attack_steps=5)
SHIPPED = "atmc-2%"
LADDER: Mapping[str, Method] = {
    "naive-2%": AP(keep=0.02, epochs=0),
    "al0-1%": AL0(keep=0.004, epochs=20, batch_size=64),
    "al0-2%": AL0(keep=0.008, epochs=20, batch_size=64),
    "atmc-1%": ATMC(keep=0.01, bits=4, epochs=20, polish_epochs=5, batch_size=64),
    "atmc-2%": ATMC(keep=0.02, bits=4, epochs=20, polish_epochs=5, batch_size=64),
}
"""Rows by name; the name says the share of the dense float32 bytes that the file may take."""


def demo(out: Path, seed: int = 0) -> Report:
    """Train, compress five ways, write the files, and prove them.

    Args:
        out: folder for ``model.hbk``, ``rows/``, the report and the picture.
        seed: of every shuffle and random start.
    """
    data, run = load("digits"), Run(seed=seed)
    say(f"A dense net, trained on digits against {THREAT}:")
    dense = _make("dense", models.build("digits-cnn", seed=seed), data, DENSE, run)
    artifacts = {"dense": dense.artifact}
    for name, method in LADDER.items():
        artifacts[name] = _make(name, dense.model, data, method, run).artifact
    return _prove(out, artifacts, data, dense.model, run)


def _make(name: str, net: nn.Module, data: Data, method: Method, run: Run) -> api.Compressed:
    with bars(name) as bar:
        told = replace(run, watcher=bar)
        trained = not isinstance(method, DA)
        made = api.compress(net, data, method=method, threat=THREAT, pretrained=trained, run=told)
    say(f"  {name}: {made.artifact.nbytes:,} bytes")
    return made


def _prove(
    out: Path, artifacts: Mapping[str, Artifact], data: Data, dense: nn.Module, run: Run
) -> Report:
    paths = keep_rows(out, {n: a for n, a in artifacts.items() if n != SHIPPED})
    paths[SHIPPED] = out / api.FILE
    artifacts[SHIPPED].save(paths[SHIPPED])
    say("Each file, decoded and attacked (the official AutoAttack, and PGD-40):")
    proof = Proof(
        THREAT,
        str(THREAT),
        {"pgd:40": PGD(40, track=True)},
        autoattack=True,
        autoattack_limit=100,
        check_limit=100,
        seed=run.seed,
    )
    rows = [
        prove(path, data, proof, source=dense, name=name, device=run.place())
        for name, path in paths.items()
    ]
    return publish(out, rows, data, run.seed, run.place(), "Robust digits, from dense to 1%")
