"""Claim: without half of its inner filters (50.7% of the multiplications) ResNet-18 is 1.58 times
as fast in torch at batch 1 and 1.79 at batch 64, 1.81 and 1.94 in ONNX Runtime; with one filter
less in each layer ONNX Runtime falls to 1.61 and 1.53, since it computes channels in blocks.

    python -m benchmarks.shrink_latency

Setting: 3 × 32 × 32 images, random weights. Filters whose outputs are added go together, as ADMM's
filter pattern prunes them, and leave the network physically; inner ones are read by no addition.
Median milliseconds of each net and of the dense one, in turns in one run of 15, on one thread.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

import hauberk as hb
from benchmarks.arguments import parser
from benchmarks.record import RESULTS, Header, record
from hauberk.evaluation.cost import latency, macs
from hauberk.methods._structured import Pruning
from hauberk.onnx.export import trace
from hauberk.onnx.session import Session
from hauberk.parametrize import Selection
from hauberk.slimming.filter_families import families
from hauberk.slimming.slim import shrink

SHAPE = (3, 32, 32)
EXAMPLE = torch.zeros(1, *SHAPE)


def thinned(dense: nn.Module, gone: float, inner: bool) -> nn.Module:
    """The net without this fraction of its filters; ``inner``: of those that no addition reads."""
    net = copy.deepcopy(dense)
    sums = [f.writers for f in families(net, EXAMPLE) if len(f.writers) > 1]
    excluded = tuple(name for names in sums for name in names) if inner else ()
    pruning = Pruning("filter", 1 - gone, across=False, select=Selection(exclude=excluded))
    ties = pruning.tied(net, EXAMPLE)
    weights = dict(net.named_parameters())
    chosen = {name: weights[name].detach() for tie in ties for name in tie}
    cut = pruning.budget(ties, chosen).project(chosen)
    with torch.no_grad():
        for name, value in cut.items():
            weights[name].copy_(value)
    shrink(net, EXAMPLE)
    return net.eval()


def session(net: nn.Module) -> Session:
    """The net in ONNX Runtime."""
    return Session(trace(net, SHAPE).SerializeToString())


def row(name: str, dense: nn.Module, net: nn.Module) -> dict[str, Any]:
    """Both nets in both runtimes."""
    runs = {"torch": (net, dense), "onnxruntime": (session(net), session(dense))}
    times = {
        runtime: {batch: t.json() for batch, t in latency(*pair, SHAPE, repeats=15).items()}
        for runtime, pair in runs.items()
    }
    share = macs(net, SHAPE).dense / macs(dense, SHAPE).dense
    speedup = {
        f"{runtime} {batch}": round(1 / t["ratio"], 2)
        for runtime, found in times.items()
        for batch, t in found.items()
    }
    return {"net": name, "share_of_macs": round(share, 4), "speedup": speedup, "ms": times}


def main(argv: Sequence[str] | None = None) -> None:
    """Shrink, time, record."""
    parser(__doc__).parse_args(argv)
    torch.set_num_threads(1)
    dense = hb.models.build("resnet18").eval()
    rows = [
        row("half of the inner filters gone", dense, thinned(dense, 0.5, inner=True)),
        row("and one more of each layer", dense, thinned(dense, 0.507, inner=True)),
        row("half of all filters gone", dense, thinned(dense, 0.5, inner=False)),
        row("three quarters of all filters gone", dense, thinned(dense, 0.75, inner=False)),
    ]
    record(RESULTS / "shrink_latency.json", Header.of(__doc__).claim, {"rows": rows})


if __name__ == "__main__":
    main()
