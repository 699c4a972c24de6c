"""Claim: the file of a net of 21 M weights at 8 bits takes 2.5% more than its entropy with 1% of
the weights kept and 0.4% with 10%; one thread encodes 79.8 M and 33.6 M weights a second, decodes
318 M and 101 M; dense float32 is encoded at 17.0 M and decoded at 21.2 M.

    python -m benchmarks.speed.codec            (--small: one repeat)

Setting: the layers of a ResNet-34 in CIFAR form. Each row of a layer has its own density, as in
pruned nets; the bound is the entropy given those densities, which the coder has to learn. Each
weight's codebook index is drawn evenly from 256 values; codebooks count in the bytes and not in the
bound. Processor time, medians of five encodings and decodings in turns; every decoding is compared
bit by bit.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.speed.contest import parse, parser, publish
from hauberk.artifact import Artifact

LEVELS = 256
STAGES = ((3, 64, 1), (64, 64, 6), (64, 128, 8), (128, 256, 12), (256, 512, 6))


def layers() -> dict[str, tuple[int, ...]]:
    """Shapes of 21 M weights: the kernels of ResNet-34."""
    shapes = {}
    for stage, (first, width, depth) in enumerate(STAGES):
        for i in range(depth):
            shapes[f"{stage}.{i}.weight"] = (width, width if i else first, 3, 3)
    return shapes


def net(keep: float) -> tuple[dict[str, Tensor], float]:
    """A pruned, quantised net, and its entropy in bytes (codebooks and names aside)."""
    rng = np.random.default_rng(0)
    state, bits = {}, 0.0
    for name, shape in layers().items():
        density = np.clip(keep * rng.gamma(2.0, 0.5, shape[0]), 1e-6, 0.99)
        book = np.unique(rng.normal(0, 0.05, 4 * LEVELS).astype(np.float16))
        book = rng.permutation(book[book != 0])[:LEVELS].astype(np.float32)
        kept = rng.random((shape[0], int(np.prod(shape[1:])))) < density[:, None]
        index = rng.integers(LEVELS, size=int(kept.sum()))
        dense = np.zeros(kept.shape, dtype=np.float32)
        dense[kept] = book[index]
        state[name] = torch.from_numpy(dense).reshape(shape)
        each = -density * np.log2(density) - (1 - density) * np.log2(1 - density)
        bits += float(each.sum()) * kept.shape[1] + len(index) * float(np.log2(LEVELS))
    return state, bits / 8


def dense() -> dict[str, Tensor]:
    """The same layers as Gaussian float32: no codebook, no zeros."""
    rng = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=rng) for name, shape in layers().items()}


def encode(state: dict[str, Tensor]) -> Artifact:
    """The state as a file."""
    return Artifact.encode(state, architecture=None, input_shape=(3, 32, 32), classes=10)


def seconds(task: Callable[[], Any]) -> float:
    """Of processor time, since the work has one thread and other programs take little from it."""
    start = time.process_time()
    task()
    return time.process_time() - start


def measure(
    name: str, state: dict[str, Tensor], entropy: float | None, repeats: int
) -> dict[str, Any]:
    """One row."""
    weights = sum(t.numel() for t in state.values())
    artifact = encode(state)  # also the warm-up
    decoded = artifact.state()
    assert all(torch.equal(t, decoded[name]) for name, t in state.items())
    pairs = [(seconds(lambda: encode(state)), seconds(artifact.state)) for _ in range(repeats)]
    encoding, decoding = (statistics.median(times) for times in zip(*pairs, strict=True))
    return {
        "net": name,
        "weights": weights,
        "bytes": artifact.nbytes,
        "entropy_bytes": entropy,
        "bytes_over_entropy": entropy and artifact.nbytes / entropy,
        "overhead_bytes": artifact.overhead_bytes,
        "encode_weights_per_s": weights / encoding,
        "decode_weights_per_s": weights / decoding,
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows for the terminal."""
    lines = ["net               bytes       / entropy  encode M/s  decode M/s"]
    for r in rows:
        over = f"{r['bytes_over_entropy']:.4f}" if r["bytes_over_entropy"] else ""
        lines.append(
            f"{r['net']:<17} {r['bytes']:<11,} {over:<10} "
            f"{r['encode_weights_per_s'] / 1e6:<11.1f} {r['decode_weights_per_s'] / 1e6:.1f}"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure each net."""
    given = parse(parser(__doc__), argv)
    repeats = given.repeats or (1 if given.small else 5)
    rows = [measure(f"{keep:.0%} kept, 8 bits", *net(keep), repeats) for keep in (0.01, 0.1)]
    rows.append(measure("dense float32", dense(), None, repeats))
    print(table(rows))
    publish(__file__, __doc__, {"rows": rows}, given.small)


if __name__ == "__main__":
    main()
