"""Claim: AutoAttack behind `hauberk.evaluation.autoattack` is at least as fast as the official code
on the same network, and gives the same answers.

    python benchmarks/speed/evaluation.py --data ../shared/data/mnist   (--small: a minute or two)

Both run the standard version with one seed and one batch on the 17,197-byte `caffe-lenet`, at eps
76/255. Ours gives the official code a frozen copy in channels-last and only the images that the
network has right; the official code gets the network as `hb.load` gives it. Processor time of one
thread; the two take turns.
"""

from __future__ import annotations

from pathlib import Path

import torch
from _bench import alternate, digits, flags, over, publish
from pyautoattack import AutoAttack
from torch import Tensor

import hauberk as hb
from hauberk.evaluation import autoattack

SEED, EPS = 0, 76 / 255
FILE = Path(__file__).parents[1] / "results" / "atmc_mnist.hbk"


def main() -> None:
    given = flags(__doc__, data={"required": True}, images={"type": int, "default": 0})
    count = given.images or (8 if given.small else 64)
    net = hb.load(FILE).eval()
    examples = hb.data.load(given.data).test.first(count)
    x, y = examples.images(), examples.y
    answers: dict[str, Tensor] = {}

    def ours() -> None:
        answers["hauberk"] = autoattack(net, examples, hb.Linf(EPS), seed=SEED).robust

    def official() -> None:
        with torch.random.fork_rng(devices=[]):
            attack = AutoAttack(net, eps=EPS, norm="Linf", seed=SEED, device=x.device)
            _, found = attack.run_standard_evaluation(x, y, batch_size=500)
        answers["official"] = found == y

    repeats = given.repeats or (1 if given.small else 3)
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
