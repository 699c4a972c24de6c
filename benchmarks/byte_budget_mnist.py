"""A budget in bytes against one (keep, bits) for all layers at equal bytes: over three seeds,
shares and codebooks of their own leave 47% under AutoAttack at 0.5% of the dense bytes and 44% at
0.25%, where one share and one codebook length leave 41% and 36%.

    python benchmarks/byte_budget_mnist.py --data ../shared/data/mnist

`caffe-lenet`, eps 76/255, from one dense net, by one recipe on the first 20,000 training images:
two soft steps a batch, 9 epochs under the falling budget, 4 with codebooks; dead units leave every
file (``--slim``), so that other rows, too, spend their bytes on weights. ``uniform`` keeps one
share of each layer, in codebooks of one length (``--no-across``); on validation images of seed 0,
2, 3 and 4 bits were level. ``lamp``, for comparison, has one budget over all layers, which LAMP
shares out, and one length (not run yet: its keeps and bits are guesses). Measured on the decoded
file, on the first 1,000 test images: PGD-100 with two random starts, and AutoAttack. Finished rows
are kept in runs/byte_budget_mnist and not done again.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import hauberk as hb
from _series import Entry, Series, over_seeds
from atmc_mnist import HONEST, THREAT

HERE = Path(__file__).parent
SHIPPED = "sized 0.5%, seed 0"
SEEDS = (0, 1, 2)
TRAINED = 20_000
SIZES = ("0.5%", "0.25%")
BITS = 3
KEEP = {"0.5%": 0.0402, "0.25%": 0.0208}
LAMP = {"0.5%": (0.0193, 4), "0.25%": (0.0084, 4)}
DENSE = hb.DA(epochs=12, lr=6e-3, attack_steps=2, reuse=True)
RECIPE: dict[str, Any] = {
    "epochs": 9,
    "codebook_epochs": 4,
    "lr": 5e-3,
    "attack_steps": 2,
    "reuse": True,
    "q": 0.45,
    "average": 0.9995,
    "slim": True,
}


def row(method: hb.Method, seed: int) -> Entry:
    """A row from the one dense net, by the one recipe."""
    return Entry(replace(method, **RECIPE), "caffe-lenet", "dense", seed, "dense", images=TRAINED)


ROWS: Mapping[str, Entry] = {
    **{
        f"sized {size}, seed {s}": row(hb.SizeTarget(size=size), s) for size in SIZES for s in SEEDS
    },
    **{
        f"uniform {size}, {BITS} bits, seed {s}": row(
            hb.ATMC(keep=KEEP[size], bits=BITS, across=False), s
        )
        for size in SIZES
        for s in SEEDS
    },
    **{
        f"lamp {size}, {bits} bits, seed {s}": row(hb.ATMC(keep=keep, bits=bits), s)
        for size, (keep, bits) in LAMP.items()
        for s in SEEDS
    },
}
FEW = {name: replace(proof, limit=1000, timing=False) for name, proof in HONEST.items()}
TABLE = Series(
    Path("runs/byte_budget_mnist"), THREAT, {"dense": Entry(DENSE, "caffe-lenet"), **ROWS}, FEW
)


def publish() -> None:
    """The JSON and the shipped file with its ONNX, beside this script."""
    results, found = HERE / "results", over_seeds(TABLE.finished())
    TABLE.record(results / "byte_budget_mnist.json", __doc__ or "", over_seeds=found)
    if TABLE.file(SHIPPED).exists():
        shutil.copyfile(TABLE.file(SHIPPED), results / "byte_budget_mnist.hbk")
        hb.export(results / "byte_budget_mnist.hbk")


if __name__ == "__main__":
    TABLE.main(__doc__ or "", publish)
