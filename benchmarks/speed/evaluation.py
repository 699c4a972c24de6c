"""Claim: AutoAttack behind `hauberk.evaluation.autoattack` is 1.74 times as fast as the official
code on the same network, with the same answers on all of 64 MNIST test images (two repeats).

    python -m benchmarks.speed.evaluation --data path/to/mnist   (--small: a minute or two)

Setting: the standard version with one seed and one batch on the `caffe-lenet` of `atmc_mnist.py` at
eps 76/255. Ours gives the official code a frozen copy in channels-last and only the images that
the network classifies correctly; the official code gets the network as `hb.load` returns it.
Processor time of one thread, in turns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pyautoattack import AutoAttack
from torch import Tensor

import hauberk as hb
from benchmarks.arguments import DATA
from benchmarks.speed.contest import SHIPPED, alternate, digits, over, parse, parser, publish
from hauberk.evaluation import Subject, autoattack

SEED, EPS = 0, 76 / 255


def main(argv: Sequence[str] | None = None) -> None:
    """Time both on the same images."""
    options = parser(__doc__)
    options.add_argument("--data", required=True, help=DATA)
    options.add_argument("--images", type=int, default=0)
    given = parse(options, argv)
    count = given.images or (8 if given.small else 64)
    net = hb.load(SHIPPED).eval()
    examples = hb.data.load(given.data).test.first(count)
    x, y = examples.images(), examples.y
    answers: dict[str, Tensor] = {}

    def ours() -> None:
        answers["hauberk"] = autoattack(Subject.of(net, examples, hb.Linf(EPS), seed=SEED)).robust

    def official() -> None:
        with torch.random.fork_rng(devices=[]):
            attack = AutoAttack(net, eps=EPS, norm="Linf", seed=SEED, device=x.device)
            _, found = attack.run_standard_evaluation(x, y, batch_size=500)
        answers["official"] = found == y

    repeats = given.repeats or (1 if given.small else 2)
    times = alternate({"hauberk": ours, "official": official}, repeats, warm=False)
    found = {
        "images": count,
        "official_over_hauberk": digits(over(times, "official", "hauberk")),
        "images_per_s": {name: digits(count / min(t)) for name, t in times.items()},
        "robust_accuracy": {n: float(mask.double().mean()) for n, mask in answers.items()},
        "equal_answers": float((answers["hauberk"] == answers["official"]).double().mean()),
    }
    publish(__file__, __doc__, found, given.small, SEED)


if __name__ == "__main__":
    main()
