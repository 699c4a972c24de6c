"""What the speed benchmarks share: contestants in turns in one run, and where a record goes."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch

from benchmarks import arguments
from benchmarks.record import RESULTS, Header, record

Times: TypeAlias = dict[str, list[float]]
SPEED = RESULTS / "speed"
SHIPPED = RESULTS / "atmc_mnist.hbk"
"""The `caffe-lenet` of `atmc_mnist.py`, which several scripts time."""


def parser(docstring: str | None) -> argparse.ArgumentParser:
    """``--small`` and ``--repeats``; a script adds its own options."""
    options = arguments.parser(docstring)
    options.add_argument("--small", action="store_true", help="minutes; writes below runs/bench")
    options.add_argument("--repeats", type=int, default=0, help="0: the script's own number")
    return options


def parse(
    options: argparse.ArgumentParser, argv: Sequence[str] | None = None
) -> argparse.Namespace:
    """The options' values; torch has one thread from here on."""
    given = options.parse_args(argv)
    torch.set_num_threads(1)
    return given


def alternate(runs: Mapping[str, Callable[[], Any]], repeats: int, warm: bool = True) -> Times:
    """Processor seconds of each contestant, in turns; a warm-up round is not counted.

    Processor time of one thread, since other programs on the machine take little from it.
    """
    times: Times = {name: [] for name in runs}
    for repeat in range(-warm, repeats):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if repeat >= 0:
                times[name].append(time.process_time() - start)
    return times


def over(times: Times, one: str, other: str) -> float:
    """The median of the ratios of two contestants, turn by turn."""
    return statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))


def digits(value: float, figures: int = 3) -> float:
    """To so many significant figures."""
    return float(f"{value:.{figures}g}")


def publish(
    script: str, docstring: str | None, found: Mapping[str, Any], small: bool, seed: int = 0
) -> None:
    """Write ``results/speed/SCRIPT.json``, or ``runs/bench/SCRIPT.json`` for a small run.

    Args:
        script: the path of the script.
        docstring: its own, for the claim.
        found: what was measured.
        small: whether it was measured at small size.
        seed: of everything random.
    """
    folder, name = Path("runs/bench") if small else SPEED, f"{Path(script).stem}.json"
    claim = "No claim: a small run." if small else Header.of(docstring).claim
    record(folder / name, claim, {"clock": "processor", **found}, seed)
