"""Claim: in ten files of 430 K and 11 M weights, positions take up to 1.1% and codebook indices
up to 2.1% more than their empirical entropy, and what does not grow with the weights takes at most
461 bytes.

    python -m benchmarks.file_size runs/atmc_mnist/ATMC-4bit/model.hbk runs/atmc_mnist/DA/model.hbk

Setting: two trained nets of `atmc_mnist.py` and eight random ones with Gaussian rows and columns of
different strength, pruned by magnitude over the whole net and quantised by k-means per layer.
Positions are compared with their entropy given the classes of rows and columns that the file stores
(labels included), indices with their zeroth-order entropy, tensor by tensor. Also recorded: the
plain entropy of the positions Σ N · H(k / N); zip's deflate, xz and, where the package zstandard is
installed, zstd of the same tensors, dense in float32; safetensors in float16.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from benchmarks.arguments import parser
from benchmarks.record import RESULTS, Header, record
from hauberk.artifact import Artifact, Layer
from hauberk.artifact.positions import run_bits
from hauberk.models import build
from hauberk.ops.kmeans import kmeans
from hauberk.ops.topk import keep_largest

SEED = 0
NETS = {"caffe-lenet": ((0.25, 4), (0.05, 4), (0.02, 8)),
        "resnet18": ((0.1, 8), (0.1, 4), (0.05, 4), (0.01, 8), (0.01, 4))}  # fmt: skip


def net(name: str, keep: float, bits: int) -> dict[str, Tensor]:
    """A random net's state, its matrices pruned over the whole net and quantised one by one."""
    rng = torch.Generator().manual_seed(SEED)
    state = {n: t.clone() for n, t in build(name).state_dict().items()}
    large = {n: uneven(t, rng) for n, t in state.items() if t.ndim > 1}
    masks = keep_largest({n: t.abs() for n, t in large.items()}, round(keep * count(large)))
    pruned = {n: kmeans(torch.where(masks[n], t, 0.0), 1 << bits) for n, t in large.items()}
    halves = {n: t.half().float() for n, t in (state | pruned).items() if t.is_floating_point()}
    return state | halves


def uneven(t: Tensor, rng: torch.Generator) -> Tensor:
    """Gaussian at the tensor's own scale, in rows and columns of different strength."""
    ones = [1] * (t.ndim - 2)
    rows = torch.rand(t.shape[0], 1, *ones, generator=rng) + 0.3
    columns = torch.rand(1, t.shape[1], *ones, generator=rng) + 0.3
    return torch.randn(t.shape, generator=rng) * t.std() * rows * columns


def count(state: Mapping[str, Tensor]) -> int:
    """Its weights."""
    return sum(t.numel() for t in state.values())


def entropies(layers: list[Layer]) -> dict[str, float]:
    """Bytes of positions and codes over all matrices, and their entropies."""
    sparse = [x for x in layers if 0 < x.kept < x.weights and len(x.shape) > 1]
    coded = [x for x in layers if 0 < x.bits <= 8]
    plain = sum(float(run_bits(np.array([x.kept * 1.0]), x.weights)[0]) for x in sparse) / 8
    found = {
        "position_bytes": sum(x.position_bytes for x in sparse),
        "position_entropy": sum(x.position_entropy for x in sparse),
        "position_plain_entropy": plain,
        "code_bytes": sum(x.code_bytes for x in coded),
        "code_entropy": sum(x.code_entropy for x in coded),
        "codebook_bytes": sum(x.codebook_bytes for x in coded),
    }
    for part in ("position", "code"):
        if least := found[f"{part}_entropy"]:
            found[f"{part}_over_entropy"] = found[f"{part}_bytes"] / least - 1
    return found


def others(state: Mapping[str, Tensor]) -> dict[str, int | None]:
    """The sizes of the same state in other formats."""
    raw = b"".join(t.numpy().tobytes() for t in state.values())
    half = {n: t.half() if t.is_floating_point() else t for n, t in state.items()}
    return {
        "dense_float32": len(raw),
        "zip": len(zlib.compress(raw, 9)),
        "xz": len(lzma.compress(raw)),
        "zstd": zstd(raw),
        "safetensors_float16": len(save(half)),
    }


def zstd(raw: bytes) -> int | None:
    """Bytes by zstandard, where it is installed."""
    if find_spec("zstandard") is None:
        return None
    import zstandard

    return len(zstandard.ZstdCompressor(level=19).compress(raw))


def artifacts(paths: Sequence[str]) -> Iterator[tuple[str, Artifact]]:
    """The files, then the random nets."""
    for path in paths:
        yield path, Artifact.load(path)
    for name, settings in NETS.items():
        for keep, bits in settings:
            state = net(name, keep, bits)
            shape, classes = ((1, 28, 28) if name == "caffe-lenet" else (3, 32, 32)), 10
            made = Artifact.encode(state, architecture=None, input_shape=shape, classes=classes)
            yield f"{name}, {keep:.0%} kept, {bits} bits", made


def measure(name: str, artifact: Artifact) -> dict[str, Any]:
    """One row."""
    state, layers = artifact.state(), artifact.layers()
    return {
        "net": name,
        "weights": count(state),
        "kept": sum(x.kept for x in layers),
        "bytes": artifact.nbytes,
        "overhead_bytes": artifact.overhead_bytes,
        **entropies(layers),
        **others(state),
    }


def line(row: Mapping[str, Any]) -> str:
    """A row for the terminal."""
    over = [row.get(f"{part}_over_entropy", 0.0) for part in ("position", "code")]
    return (
        f"{row['net']:32} {row['bytes']:>10,} bytes ({row['overhead_bytes']} constant): positions "
        f"{over[0]:+.2%}, codes {over[1]:+.2%}; zip {row['zip'] / row['bytes']:.2f}x, "
        f"xz {row['xz'] / row['bytes']:.2f}x, "
        f"fp16 {row['safetensors_float16'] / row['bytes']:.1f}x"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Encode, compare, record."""
    options = parser(__doc__)
    options.add_argument("files", nargs="*", metavar="FILE.hbk", help="trained nets, too")
    given = options.parse_args(argv)
    torch.set_num_threads(1)
    rows = []
    for name, artifact in artifacts(given.files):
        rows.append(measure(name, artifact))
        print(line(rows[-1]), flush=True)
    record(RESULTS / "file_size.json", Header.of(__doc__).claim, {"rows": rows}, SEED)


if __name__ == "__main__":
    main()
