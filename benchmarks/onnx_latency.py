"""Claim: in ONNX Runtime on one core with VNNI, ResNet-18 in eight bits takes 0.33 of the time of
float32 at batch 1 and 0.29 at batch 64; the file with compact weights takes 0.99.

    python -m benchmarks.onnx_latency

Setting: 3 × 32 × 32 images; random weights, 5% of them kept in 4 bits each, batch-norm folded,
activation ranges from random images. Ratios are medians over pairs that ran one after the other, in
one run of 300 repeats at batch 1 and 9 at batch 64. Times only; `int8_agreement.py` compares
answers, of a trained net.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

import hauberk as hb
from benchmarks.arguments import parser
from benchmarks.record import RESULTS, Header, record
from hauberk.onnx.compact import compact
from hauberk.onnx.export import trace
from hauberk.onnx.int8 import quantize, ranges
from hauberk.onnx.session import Session
from hauberk.parametrize import matrices

SHAPE = (3, 32, 32)
REPEATS = {1: 300, 64: 9}


@torch.no_grad()
def network() -> nn.Module:
    """A random ResNet-18, sparse, with a codebook."""
    net = hb.models.build("resnet18")
    weights = dict(net.named_parameters())
    chosen = {name: weights[name].detach() for name in matrices(net)}
    small = hb.constraints.Sparsity(0.05).balanced(chosen).project(chosen)
    for name, value in hb.constraints.Codebook(4).project(small).items():
        weights[name].copy_(value)
    return net.eval()


def graphs(net: nn.Module, images: torch.Tensor) -> dict[str, bytes]:
    """The plain graph, the same with compact weights, and in eight bits."""
    plain = trace(net, SHAPE)
    small = copy.deepcopy(plain)
    compact(small)
    int8 = trace(net, SHAPE, fold=True)
    quantize(int8, ranges(int8, images.split(16)))
    compact(int8)
    every = {"float32": plain, "compact": small, "int8": int8}
    return {name: graph.SerializeToString() for name, graph in every.items()}


def milliseconds(sessions: Mapping[str, Session], x: torch.Tensor, repeats: int) -> dict[str, Any]:
    """Medians of each, in turns; every other turn is in reverse order."""
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for repeat in range(-2, repeats):
        names = list(sessions)
        for name in names if repeat % 2 else names[::-1]:
            start = time.perf_counter()
            sessions[name](x)
            if repeat >= 0:
                times[name].append(1e3 * (time.perf_counter() - start))
    ratios = {
        name: statistics.median(a / b for a, b in zip(took, times["float32"], strict=True))
        for name, took in times.items()
    }
    return {
        "repeats": repeats,
        "median_ms": {name: round(statistics.median(took), 3) for name, took in times.items()},
        "ratio_to_float32": {name: round(ratio, 3) for name, ratio in ratios.items()},
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Build, time, record."""
    parser(__doc__).parse_args(argv)
    torch.set_num_threads(1)
    images = torch.rand(64, *SHAPE, generator=torch.Generator().manual_seed(0))
    contents = graphs(network(), images)
    sessions = {name: Session(content, threads=1) for name, content in contents.items()}
    latency = {f"batch{n}": milliseconds(sessions, images[:n], r) for n, r in REPEATS.items()}
    results = {"bytes": {n: len(c) for n, c in contents.items()}, "latency": latency}
    record(RESULTS / "onnx_latency.json", Header.of(__doc__).claim, results, seed=0)


if __name__ == "__main__":
    main()
