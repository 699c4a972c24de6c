"""What the speed benchmarks share: contestants that take turns in one run, and where results go."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from _record import record

Times: TypeAlias = dict[str, list[float]]
HERE = Path(__file__).parent


def flags(doc: str | None, **more: Mapping[str, Any]) -> argparse.Namespace:
    """``--small``, ``--repeats`` and what the script adds; one thread from here on."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n\n")[0])
    parser.add_argument("--small", action="store_true", help="minutes; writes below runs/bench")
    parser.add_argument("--repeats", type=int, default=0, help="0: the script's own number")
    for name, settings in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **settings)
    torch.set_num_threads(1)
    return parser.parse_args()


def alternate(runs: Mapping[str, Callable[[], Any]], repeats: int, warm: bool = True) -> Times:
    """Processor seconds of each contestant, who take turns; a warm-up round is not counted.

    Processor time of one thread, since what else runs on the machine takes little from it.
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


def publish(script: str, doc: str | None, found: Mapping[str, Any], small: bool, seed: int) -> None:
    """``NAME.json`` beside the script, or below ``runs/bench`` for a small run."""
    claim = " ".join((doc or "").split("\n\n")[0].split())
    folder = Path("runs/bench") if small else HERE
    record(folder / f"{Path(script).stem}.json", claim, {"clock": "processor", **found}, seed)
