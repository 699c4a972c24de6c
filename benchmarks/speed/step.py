"""One adversarial training step costs ≤ 1.1 × its limit, and compression adds ≤ 5% to it.

    python benchmarks/steps.py

`caffe-lenet`, batch 256, PGD-16, channels_last. The limit is 16 input-gradient passes and one full
pass of bare PyTorch. Compression is ATMC's plain form without factors: the global ℓ0 projection at
every step, codebook and dual at every tenth. Medians over alternating repeats in one run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

import hauberk as hb
from _record import record
from hauberk.parametrize import matrices
from hauberk.problem import Problem
from hauberk.solve import Solver
from hauberk.types import Batch

STEPS, SIZE, REPEATS = 16, 256, 8


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(SIZE, 1, 28, 28, generator=rng).contiguous(memory_format=torch.channels_last)
    return x, torch.randint(0, 10, (SIZE,), generator=rng)


def net() -> nn.Module:
    return hb.models.build("caffe-lenet").to(memory_format=torch.channels_last)


def limit() -> Callable[[], None]:
    """16 input gradients, one forward and backward: nothing else."""
    model, (x, y) = net(), inputs()

    def run() -> None:
        for p in model.parameters():
            p.requires_grad_(False)
        for _ in range(STEPS):
            x.requires_grad_()
            torch.autograd.grad(F.cross_entropy(model(x), y, reduction="sum"), x)
            x.requires_grad_(False)
        for p in model.parameters():
            p.requires_grad_(True)
        model.zero_grad(set_to_none=True)
        F.cross_entropy(model(x), y).backward()

    return run


def ours(solver: Solver, structures: dict[str, hb.Structure]) -> Callable[[], None]:
    """Steps of a solver, in the middle of its stage."""
    model, (x, y) = net(), inputs()
    objective = hb.Adversarial(hb.Linf(76 / 255), hb.PGD(STEPS))
    problem = Problem(objective, structures, select=matrices)
    state, rng = solver.init(problem, model), torch.Generator().manual_seed(1)

    def run() -> None:
        model.train()
        solver.step(problem, model, Batch(x, y, rng, 0.7), state)

    return run


def main() -> None:
    budget = {"budget": hb.Sparsity(0.03), "codebook": hb.Codebook(4)}
    runs = {
        "limit": limit(),
        "plain": ours(hb.ProjectedGradient(), {}),
        "compressed": ours(hb.ADMM(frozenset({"codebook"}), rho=0.01), budget),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(-1, REPEATS):
        for name, run in runs.items():
            start = time.perf_counter()
            for _ in range(10):  # ten steps hold one codebook
                run()
            if repeat >= 0:
                times[name].append((time.perf_counter() - start) / 10)
    median = {name: statistics.median(t) for name, t in times.items()}
    results = {
        "step_over_limit": round(median["plain"] / median["limit"], 3),
        "compressed_over_plain": round(median["compressed"] / median["plain"], 3),
        "milliseconds": {name: round(1e3 * t, 1) for name, t in median.items()},
    }
    claim = (__doc__ or "").split("\n\n")[0]
    record("benchmarks/results/steps.json", claim, results, seed=0)


if __name__ == "__main__":
    main()
