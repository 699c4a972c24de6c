"""Claim: a training step costs at most 1.05 times a bare PGD training loop's for DA, AL0 and ADMM
and 1.15 times for ATMC, with and without factors. At 430 K weights the codebook and the factors
take a fixed 30 ms: 1.10 and 1.09 at batch 128, 1.16 at batch 64.

    python benchmarks/speed/step.py            (--small: two minutes, 430 K weights)

The bare loop takes K input gradients with frozen parameters, one full pass and one step of AdamW,
in channels_last: nothing else. Each contestant is a stage as its method gives it, in the middle;
``ADMM`` prunes filters (Z and U move once in hundreds of steps and are not in it). ATMC's second
stage has the weights that its first one left. `memory.py` reads what they
hold.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import torch
from _bench import HERE, Times, alternate, digits, flags, over, publish
from torch import nn
from torch.nn import functional as F

import hauberk as hb
from hauberk.batch import Batch
from hauberk.dataset import Examples
from hauberk.training.stage import Stage

SEED, CLASSES, PROGRESS = 0, 10, 0.7
THREAT = hb.Linf(8 / 255)
NETS = {"430 K": ("caffe-lenet", 1, 28), "11 M": ("resnet18", 3, 32), "21 M": ("resnet34", 3, 32)}
TARGETS = {"DA": 1.05, "AL0": 1.05, "ATMC": 1.15, "ATMC codebook": 1.15, "ATMC UVC": 1.15}
TARGETS["ADMM"] = 1.05
Contestant: TypeAlias = tuple[Callable[[], None], nn.Module]
"""A step, and the network that it trains."""


def inputs(net: str, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random images and labels."""
    _, channels, side = NETS[net]
    rng = torch.Generator().manual_seed(SEED)
    x = torch.rand(size, channels, side, side, generator=rng)
    y = torch.randint(0, CLASSES, (size,), generator=rng)
    return x.contiguous(memory_format=torch.channels_last), y


def model(net: str) -> nn.Module:
    return hb.models.build(NETS[net][0], seed=SEED).to(memory_format=torch.channels_last)


def bare(net: str, size: int, steps: int) -> Contestant:
    """K input gradients, one full pass, one step of AdamW."""
    trained, (x, y) = model(net), inputs(net, size)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=1e-3)

    def run() -> None:
        trained.eval().requires_grad_(False)
        z = x
        for _ in range(steps):
            z = z.detach().requires_grad_()
            (grad,) = torch.autograd.grad(F.cross_entropy(trained(z), y, reduction="sum"), z)
            with torch.no_grad():
                z = (z + 0.01 * grad.sign()).clamp(x - THREAT.eps, x + THREAT.eps).clamp(0, 1)
        trained.train().requires_grad_(True)
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(trained(z), y).backward()
        optimizer.step()

    return run, trained


def methods(steps: int) -> Mapping[str, tuple[hb.Method, int]]:
    """Each with the number of the stage that is timed."""
    given: dict[str, Any] = {"attack_steps": steps}
    return {
        "DA": (hb.DA(**given), 0),
        "AL0": (hb.AL0(**given), 0),
        "ATMC": (hb.ATMC(**given), 0),
        "ATMC codebook": (hb.ATMC(**given), 1),
        "ATMC UVC": (hb.ATMC(factors=True, **given), 0),
        "ADMM": (hb.ADMMPruning(pattern="filter", keep=0.25, slim=False, **given), 0),
    }


def stages(method: hb.Method, trained: nn.Module, net: str) -> Iterator[Stage]:
    """The method's stages, each left feasible before the next is asked for."""
    x, y = inputs(net, 2)
    for stage in method.stages(trained, THREAT, Examples(x, y)):
        yield stage
        state = stage.solver.init(stage.problem, trained)
        stage.solver.finish(stage.problem, trained, state)


def ours(net: str, size: int, method: hb.Method, number: int) -> Contestant:
    """Steps of a stage, in its middle."""
    trained, (x, y) = model(net), inputs(net, size)
    every = stages(method, trained, net)
    for _ in range(number + 1):
        stage = next(every)
    state, rng = stage.solver.init(stage.problem, trained), torch.Generator().manual_seed(1)

    def run() -> None:
        trained.train()
        stage.solver.step(stage.problem, trained, Batch(x, y, rng, PROGRESS), state)

    return run, trained


def contestant(name: str, net: str, size: int, steps: int) -> Contestant:
    """The bare loop, or a method by name."""
    if name == "bare":
        return bare(net, size, steps)
    return ours(net, size, *methods(steps)[name])


def beyond(times: Times, name: str) -> float:
    """Seconds above the bare loop's: what a larger batch or more attack steps do not change."""
    pairs = zip(times[name], times["bare"], strict=True)
    return statistics.median(a - b for a, b in pairs)


def measure(net: str, size: int, steps: int, repeats: int) -> dict[str, Any]:
    """Steps over the bare loop's, turn by turn."""
    names = list(methods(steps))
    runs = {name: contestant(name, net, size, steps)[0] for name in ["bare", *names]}
    times = alternate(runs, repeats)
    return {
        "batch": size,
        "attack_steps": steps,
        "over_bare": {name: digits(over(times, name, "bare")) for name in names},
        "target": TARGETS,
        "seconds": {name: digits(statistics.median(t)) for name, t in times.items()},
        "beyond_bare_seconds": {name: digits(beyond(times, name), 2) for name in names},
    }


def main() -> None:
    given = flags(
        __doc__,
        nets={"default": "", "help": "such as '430 K,11 M'"},
        batch={"type": int, "default": 128},
        steps={"type": int, "default": 10},
    )
    nets = given.nets.split(",") if given.nets else list(NETS)[: 1 if given.small else None]
    before = HERE / "step.json"
    found: dict[str, Any] = {}
    if not given.small and before.exists():  # of nets that this run leaves out
        found = {
            n: row for n, row in json.loads(before.read_text())["results"].items() if n in NETS
        }
    for net in nets:
        repeats = given.repeats or (5 if given.small else 9)
        found[net] = measure(net, given.batch, given.steps, repeats)
        print(net, found[net], flush=True)
    publish(__file__, __doc__, found, given.small, SEED)


if __name__ == "__main__":
    main()
