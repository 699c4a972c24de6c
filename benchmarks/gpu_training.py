"""PGD-10 training on a GPU, timed against a matrix product of the same device.

A step is PGD-10 and one pass of training: two forward passes' worth of operations for each of K
input gradients, three for the last; a multiply-add counts as two. Steps are timed by the clock once
the compiler is done.
"""

from __future__ import annotations

import time

import torch

import hauberk as hb
from benchmarks.speed.contest import digits
from hauberk.dataset import Data
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


def training(
    data: Data, model: str, batch: int, steps: int, compiled: bool, rate: float
) -> dict[str, float]:
    """Images a second of PGD-10 training, and the fraction of the product's rate.

    Args:
        data: resident on the device, if its memory holds them.
        model: by name.
        batch: images of a step.
        steps: that are timed.
        compiled: whether the network is compiled.
        rate: of `product_rate`.
    """
    warm = max(1, steps // 3)
    some = data.train.first(batch * (warm + steps))
    problem = Problem(Adversarial(THREAT, hb.PGD(STEPS)))
    stage = Stage("dense", problem, ProjectedGradient(Descent()), 1, batch_size=batch)
    last = len(some) // batch
    clock, net = Clock(warm, last), hb.models.build(model, seed=SEED)
    forward = 2 * macs(net, data.shape).dense
    run = hb.Run(seed=SEED, bf16=True, compiled=compiled, watcher=clock)
    solve(stage, net, Data(data.name, some, some.first(0), some.first(0), data.classes), run)
    images = batch * (last - warm) / clock.seconds
    return {
        "images_per_s": digits(images),
        "share_of_product_rate": digits(images * forward * PASSES / rate),
    }
