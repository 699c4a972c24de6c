"""Claim: four clipped-gradient steps find within two points what eight signed ones find (75.0 and
73.3% left), and eight within a point what sixteen find (70.6 and 70.0), from random starts on a
dense `caffe-lenet`, first 1,000 MNIST validation images.

    python -m benchmarks.speed.attack_steps DENSE.hbk --data path/to/mnist

Setting: eps 76/255; accuracy left by the number of gradients of each attack: signed steps from the
clean image with the ATMC paper's path (1.25 radii), signed steps from a random start (2.5 radii),
and `PGD.soft` from the clean image and from a random start. The net is the row "dense" of
`byte_budget_mnist.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn import functional as F

import hauberk as hb
from benchmarks.arguments import DATA, parser
from benchmarks.record import Header, record
from benchmarks.speed.contest import SPEED
from hauberk.ops.random import generator

THREAT = hb.Linf(76 / 255)
STEPS = (1, 2, 3, 4, 8, 16, 40, 100)
MOST_CLIPPED = 16


def attacks(steps: int) -> Mapping[str, hb.PGD]:
    """The four at equal cost; clipped-gradient steps are meant for short attacks."""
    signed = {
        "signed, clean start": hb.PGD(steps, reach=1.25, random_start=False),
        "signed, random start": hb.PGD(steps, reach=2.5),
    }
    soft = hb.PGD.soft(steps)
    clipped = {"soft, clean start": replace(soft, random_start=False), "soft": soft}
    return signed | (clipped if steps <= MOST_CLIPPED else {})


def main(argv: Sequence[str] | None = None) -> None:
    """Attack one file's net with more and more steps."""
    options = parser(__doc__)
    options.add_argument("file", type=Path, metavar="FILE.hbk")
    options.add_argument("--data", required=True, help=DATA)
    given = options.parse_args(argv)
    torch.set_num_threads(1)
    net, held_out = hb.load(given.file), hb.data.load(given.data).validation.first(1000)
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
    found = {"file": given.file.name, "n": len(y), "accuracy_left_by_gradients": left}
    record(SPEED / "attack_steps.json", Header.of(__doc__).claim, found, seed=0)


if __name__ == "__main__":
    main()
