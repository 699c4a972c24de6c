"""Aim: on an H200, PGD-10 training of ResNet-18 reaches 40% of the bfloat16 rate of a large matrix
product in the same run, and DA, ATMC and the file take at most 10 minutes. No record is committed.

    python -m benchmarks.speed.gpu --data path/to/cifar10-jpeg

Setting: data resident on the device, channels_last, batches of one shape, autocast to bfloat16,
eager and compiled (`--precision bf16-mixed --compiled`). A step is PGD-10 and one pass of training:
two forward passes' worth of operations for each of K input gradients, three for the last; a
multiply-add counts as two. Steps are timed by the clock once the compiler is done. The pipeline is
`hauberk.compress`, then AutoAttack on the decoded file, timed on its own. --small: a few steps on
any device.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import hauberk as hb
from benchmarks.arguments import DATA
from benchmarks.speed.contest import digits, parse, parser, publish
from hauberk.cli.console import bars
from hauberk.data.load import load
from hauberk.dataset import Data
from hauberk.evaluation import Subject, autoattack, clean
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
        """Read the clock at these two steps alone: each reading synchronises the device."""
        self.at += 1
        if self.at == self.warm:
            self.start = now()
        if self.at == self.last:
            self.seconds = now() - self.start


def now() -> float:
    """The clock, after the device has finished."""
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
    """Images a second of PGD-10 training, and the fraction of the product's rate."""
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
    """DA, ATMC, the file, and its robustness."""
    method = hb.ATMC(dense_epochs=epochs, codebook_epochs=max(1, epochs // 5)).with_(
        epochs=epochs, batch_size=256, attack_steps=1, reuse=True, flip=True, shift=4
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
        robust = autoattack(Subject.of(net, test, THREAT, seed=SEED)).robust
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


def main(argv: Sequence[str] | None = None) -> None:
    """Measure both, or one."""
    options = parser(__doc__)
    options.add_argument("--data", required=True, help=DATA)
    options.add_argument("--batch", type=int, default=512)
    options.add_argument(
        "--epochs", type=int, default=12, help="of the dense and of the sparse training"
    )
    options.add_argument("--only", choices=("training", "pipeline"), help="by default both")
    given = parse(options, argv)
    small, place = given.small, hb.Run().place()
    torch.set_float32_matmul_precision("high")
    data = load(given.data)
    found: dict[str, Any] = {"device": str(place)}
    if given.only != "pipeline":
        rate = product_rate(place, 512 if small else 8192)
        found["product_operations_per_s"] = digits(rate)
        batch, steps = (4, 2) if small else (given.batch, 60)
        for compiled in (False, True):
            name = "compiled" if compiled else "eager"
            found[name] = training(data, batch, steps, compiled, rate)
            print(name, found[name], flush=True)
    if given.only != "training":
        found["pipeline"] = pipeline(data, given.epochs, 1000)
    publish(__file__, __doc__, found, small, SEED)


if __name__ == "__main__":
    main()
