"""Claim (not measured yet, for want of a GPU): on an H200, PGD-10 training of ResNet-18 reaches 40%
of the bfloat16 rate of a large matrix product in the same run; the whole of DA, ATMC and the file
takes 10 minutes at most.

    python benchmarks/speed/gpu.py --data ../shared/data/cifar10-jpeg
    (--small: a few steps on whatever there is; the accuracy is then worth nothing)

The data are resident on the device, images channels_last, batches of one shape, autocast to
bfloat16 and a compiled network, as ``--precision bf16-mixed --compiled`` has them. A step is PGD-10
and one pass of training: K input gradients of two forward passes each, and three for the last; a
multiply and add counts as two operations. Steps are timed on the clock, after the compiler's first
ones. The pipeline is `hauberk.compress`, its file decoded, and AutoAttack on it, which is timed
apart.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from _bench import digits, flags, publish

import hauberk as hb
from hauberk.cli.console import bars
from hauberk.data.load import load
from hauberk.dataset import Data
from hauberk.evaluation import autoattack
from hauberk.evaluation.accuracy import clean
from hauberk.evaluation.cost import macs
from hauberk.objectives import Adversarial
from hauberk.problem import Problem
from hauberk.solvers import Descent, ProjectedGradient
from hauberk.training.loop import solve
from hauberk.training.run import Watcher
from hauberk.training.stage import Stage

SEED, STEPS = 0, 10
THREAT = hb.Linf(8 / 255)
PASSES = 2 * STEPS + 3


class Clock(Watcher):
    """Seconds between the step that ends the warm-up and the last one."""

    def __init__(self, warm: int, last: int) -> None:
        self.at, self.start, self.seconds = 0, 0.0, 0.0
        self.warm, self.last = warm, last

    def step(self, metrics: object) -> None:
        """Look at the clock at these two steps alone: to look is to wait for the device."""
        self.at += 1
        if self.at == self.warm:
            self.start = now()
        if self.at == self.last:
            self.seconds = now() - self.start


def now() -> float:
    """The clock, once the device is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def product_rate(place: torch.device, size: int) -> float:
    """Operations a second of a bfloat16 matrix product."""
    a, b = (torch.randn(size, size, device=place, dtype=torch.bfloat16) for _ in range(2))
    for repeats in (3, 10):  # the first ones warm up
        start = now()
        for _ in range(repeats):
            a @ b
        taken = (now() - start) / repeats
    return 2 * size**3 / taken


def training(data: Data, batch: int, steps: int, compiled: bool, rate: float) -> dict[str, float]:
    """Images a second of PGD-10 training, and the share of the product's rate."""
    warm = max(1, steps // 3)
    some = data.train.first(batch * (warm + steps))
    problem = Problem(Adversarial(THREAT, hb.PGD(STEPS)))
    stage = Stage("dense", problem, ProjectedGradient(Descent()), 1, batch_size=batch)
    last = len(some) // batch
    clock, net = Clock(warm, last), hb.models.build("resnet18", seed=SEED)
    forward = 2 * macs(net, data.shape).dense
    run = hb.Run(seed=SEED, bf16=True, compiled=compiled, watcher=clock)
    solve(stage, net, Data(data.name, some, some.first(0), some.first(0), data.classes), run)
    images = batch * (last - warm) / clock.seconds
    return {
        "images_per_s": digits(images),
        "share_of_product_rate": digits(images * forward * PASSES / rate),
    }


def pipeline(data: Data, epochs: int, images: int) -> dict[str, Any]:
    """DA, ATMC, the file, and what it withstands."""
    method = hb.ATMC(
        epochs=epochs,
        dense_epochs=epochs,
        codebook_epochs=max(1, epochs // 5),
        batch_size=256,
        attack_steps=1,
        reuse=True,
        flip=True,
        shift=4,
    )
    start = now()
    with tempfile.TemporaryDirectory() as folder, bars("pipeline") as bar:
        run = hb.Run(seed=SEED, bf16=True, compiled=True, watcher=bar)
        small = hb.compress(
            hb.models.build("resnet18", seed=SEED),
            data,
            method=method,
            threat=THREAT,
            out=Path(folder),
            run=run,
        )
        taken = now() - start
        place, test = run.place(), data.test.first(images)
        net, test = small.model.to(place), test.to(place)
        start = now()
        robust = autoattack(net, test, THREAT, seed=SEED).robust
        return {
            "epochs": {"dense": epochs, "sparse": epochs, "codebook": method.codebook_epochs},
            "seconds": digits(taken),
            "bytes": small.artifact.nbytes,
            "dense_bytes": small.artifact.dense_bytes,
            "images": images,
            "clean": float(clean(net, test).double().mean()),
            "autoattack": float(robust.double().mean()),
            "autoattack_seconds": digits(now() - start),
        }


def main() -> None:
    given = flags(
        __doc__,
        data={"required": True},
        batch={"type": int, "default": 0},
        epochs={"type": int, "default": 0, "help": "of the dense and of the sparse training"},
        only={"default": "", "help": "training or pipeline; by default both"},
    )
    small, place = given.small, hb.Run().place()
    torch.set_float32_matmul_precision("high")
    data = load(given.data)
    found: dict[str, Any] = {"device": str(place)}
    if given.only != "pipeline":
        rate = product_rate(place, 512 if small else 8192)
        found["product_operations_per_s"] = digits(rate)
        batch, steps = (4, 2) if small else (given.batch or 512, 60)
        for compiled in (False, True):
            name = "compiled" if compiled else "as it is"
            found[name] = training(data, batch, steps, compiled, rate)
            print(name, found[name], flush=True)
    if given.only != "training":
        found["pipeline"] = pipeline(data, given.epochs or 12, 1000)
    publish(__file__, __doc__, found, small, SEED)


if __name__ == "__main__":
    main()
