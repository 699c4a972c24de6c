"""Four soft steps do within two points what eight signed ones do, and eight within a point what
sixteen do, from random starts on MNIST's dense net.

    python benchmarks/speed/attack_steps.py FILE --data ../shared/data/mnist

Accuracy left on the first 1,000 validation images at eps 76/255, by the number of gradients each
attack takes: signed steps from the clean image with the paper's path (1.25 radii), signed steps
from a random start (2.5 radii), and `PGD.soft`, from the clean image and as it is.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from _bench import HERE, record
from torch.nn import functional as F

import hauberk as hb
from hauberk.ops.random import generator

THREAT = hb.Linf(76 / 255)
STEPS = (1, 2, 3, 4, 8, 16, 40, 100)
MOST_SOFT = 16


def attacks(steps: int) -> Mapping[str, hb.PGD]:
    """The four at equal cost; many soft steps are not what they are for."""
    signed = {
        "signed, clean start": hb.PGD(steps, reach=1.25, random_start=False),
        "signed, random start": hb.PGD(steps, reach=2.5),
    }
    soft = hb.PGD.soft(steps)
    gentle = {"soft, clean start": replace(soft, random_start=False), "soft": soft}
    return signed | (gentle if steps <= MOST_SOFT else {})


def main() -> None:
    """Attack one file's net, step by step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", required=True)
    flags = parser.parse_args()
    torch.set_num_threads(1)
    net, held_out = hb.load(flags.file), hb.data.load(flags.data).validation.first(1000)
    x, y = held_out.images(), held_out.y
    net.requires_grad_(False)
    left: dict[str, dict[str, float]] = {}
    for steps in STEPS:
        for name, attack in attacks(steps).items():
            x_adv = attack(
                lambda z: F.cross_entropy(net(z), y, reduction="none"), x, THREAT, generator(0)
            )
            share = float((net(x_adv).argmax(1) == y).double().mean())
            left.setdefault(name, {})[str(steps)] = round(share, 4)
    found = {"file": flags.file.name, "n": len(y), "accuracy_left_by_gradients": left}
    record(HERE / "attack_steps.json", (__doc__ or "").split("\n\n")[0], found, seed=0)


if __name__ == "__main__":
    main()
