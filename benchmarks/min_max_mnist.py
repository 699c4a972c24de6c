"""One small net on MNIST against ℓ∞, ℓ2 and ℓ1 at once: over three seeds min-max training leaves
52.7% under PGD-40 in all three (AutoAttack: 47.0%), training on their average 48.3% (39.0%), on any
one norm at most 40.0% (26.3%). One image fools five nets at once more often by min-max weights than
by equal ones: raising the cross-entropy, robust nets in ℓ∞, ℓ2 and ℓ1 11.7, 20.7 and 30.6% of the
images against 8.6, 18.3 and 27.2%, natural ones 95.6, 67.2 and 64.9% against 75.3, 38.8 and 48.7%.
Raising the margin, of which equal weights leave out what is fooled by itself, robust nets 12.2,
24.0 and 33.4% against 11.5, 23.1 and 31.3%, natural ones 95.1% against 93.7% in ℓ∞, level in ℓ2
and ℓ1.

    python benchmarks/min_max_mnist.py --data ../shared/data/mnist

`lenet:2`, linf:0.2+l2:2+l1:12, the first 10,000 training images, 12 epochs: a size at which a row
trains in five minutes on one core. At smaller radii (l2:1.5+l1:8) the three are so alike that
min-max and the average are level (a pilot: one seed, validation images). Each row is written as a
file and measured on the decoded file: PGD-40 in each norm on the first 1,000 test images,
AutoAttack in each on the first 100; an example is robust to the union where it withstands all.
Ensembles: "robust" is the net of seed 0 trained by min-max, its copies pruned to 10% (AP) and
trained for eight bits (Int8), and the nets trained on the average and on ℓ∞ alone; "natural" a
`lenet:4`, its copies pruned to 10% and rounded to eight bits, a `lenet:2` and a `caffe-lenet`. Of
the first 5,000 test images those are attacked that all five classify correctly. For the margin
min-max brings the logits to one unit and its weights wait for half of the steps (chosen on
validation images; without the wait they are behind the average by up to two points); the one unit
is worth as much to equal weights, but in ℓ∞. The ensembles' nets were trained anew, by the same
settings on another processor, and are not those of the rows. Finished rows are kept in
runs/min_max_mnist and not done again.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

import hauberk as hb
from _series import Entry, Series, by_seeds, clean_split, spread
from hauberk.attacks import (
    LogitLoss,
    MinMaxPGD,
    cross_entropy,
    ensemble,
    hinge,
    in_one_unit,
    margin,
)
from hauberk.evaluation import Evaluation, clean
from hauberk.evaluation.frozen_copy import seal
from hauberk.ops.random import generator
from hauberk.plots import threat_weights
from hauberk.verbs.compress import FILE

HERE, WORK = Path(__file__).parent, Path("runs/min_max_mnist")
PARTS = (hb.Linf(0.2), hb.L2(2.0), hb.L1(12.0))
UNION = hb.Union(PARTS)
SEEDS = (0, 1, 2)
TRAINED = 10_000
HOW: dict[str, Any] = {"epochs": 12, "lr": 6e-3, "attack_steps": 2, "reuse": True}
SMALL: dict[str, Any] = {**HOW, "epochs": 6}
STRATEGIES: Mapping[str, tuple[hb.Method, hb.threat.Threat]] = {
    "min-max": (hb.DA(**HOW), UNION),
    "min-max per sample": (hb.DA(per_sample=True, **HOW), UNION),
    "average": (hb.DA(domains="average", **HOW), UNION),
    "max": (hb.DA(domains="max", **HOW), UNION),
    **{f"{part.name} alone": (hb.DA(**HOW), part) for part in PARTS},
}
COPIES: Mapping[str, hb.Method] = {
    "pruned copy": hb.AP(keep=0.1, **SMALL),
    "int8 copy": hb.Int8(bits=8, **SMALL),
}
NATURAL = hb.NAP(keep=1.0, dense_epochs=6, epochs=0)
NATURALS: Mapping[str, Entry] = {
    "natural": Entry(NATURAL, "lenet:4", images=TRAINED),
    "natural, pruned": Entry(hb.NAP(keep=0.1, epochs=3), "lenet:4", "natural", images=TRAINED),
    "natural, int8": Entry(hb.Int8(epochs=0), "lenet:4", "natural", images=TRAINED),
    "natural, narrow": Entry(NATURAL, "lenet:2", images=TRAINED),
    "natural, caffe": Entry(NATURAL, "caffe-lenet", images=TRAINED),
}
DENSE = "min-max, seed 0"
ENSEMBLES: Mapping[str, Sequence[str]] = {
    "robust": (DENSE, *COPIES, "average, seed 0", "linf alone, seed 0"),
    "natural": tuple(NATURALS),
}
FOOLED = 5_000
"""Test images whose ensembles are attacked: differences of half a point are to be told."""
SEARCH = MinMaxPGD(40)
LATE = MinMaxPGD(40, gamma=0.1, wait=0.5)
WAYS: Mapping[str, Mapping[str, tuple[LogitLoss, MinMaxPGD, bool]]] = {
    # what is raised, by which search, and whether logits are brought to one unit first
    "cross-entropy": {
        "average": (cross_entropy, SEARCH.averaged(), False),
        "min-max": (cross_entropy, SEARCH, False),
    },
    "margin": {
        "average": (hinge(), SEARCH.averaged(), False),
        "average, one unit": (hinge(), SEARCH.averaged(), True),
        "min-max, one unit": (margin, LATE, True),
    },
}
PROOFS = {
    "robust_union_pgd40": Evaluation(
        UNION,
        str(UNION),
        {"pgd:40": hb.PGD(40, track=True)},
        autoattack=True,
        limit=1000,
        autoattack_limit=100,
        check_limit=0,
        timing=False,
    )
}


def entries() -> Mapping[str, Entry]:
    """A row for each strategy and seed, and the copies of one of them."""
    found = {
        f"{name}, seed {seed}": Entry(method, "lenet:2", seed=seed, threat=threat, images=TRAINED)
        for seed in SEEDS
        for name, (method, threat) in STRATEGIES.items()
    }
    copies = {
        name: Entry(method, "lenet:2", start=DENSE, images=TRAINED)
        for name, method in COPIES.items()
    }
    return found | copies | NATURALS


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Robust accuracy in the union and in each norm: mean and deviation over the seeds."""
    return {
        name: {
            "clean": spread([clean_split(row)["accuracy"] for row in same]),
            **{
                attack: {
                    "union": spread([row["attacks"][attack]["accuracy"] for row in same]),
                    **{
                        part: spread([row["members"][attack][part]["accuracy"] for row in same])
                        for part in same[0]["members"][attack]
                    },
                }
                for attack in same[0]["attacks"]
            },
        }
        for name, same in by_seeds(rows).items()
    }


def fooled(data: hb.Data, names: Sequence[str]) -> dict[str, Any]:
    """Of images that all nets classify correctly, the share on which one image fools them all.

    Each search is judged by its own best point; the last way of each loss, min-max, is compared
    with the others image by image.
    """
    place = hb.Run().place()
    nets = [seal(hb.load(WORK / name / FILE).to(place)) for name in names]
    first = data.test.first(FOOLED).to(place)
    right = torch.stack([clean(net, first) for net in nets]).all(0)
    x, y = first.images(right), first.y[right]
    found: dict[str, Any] = {"nets": list(names), "images": len(y)}
    for threat in PARTS:
        for loss, ways in WAYS.items():
            all_wrong = {way: _fooled_by(how, nets, x, y, threat) for way, how in ways.items()}
            *others, best = all_wrong
            found[f"{threat}, {loss}"] = {
                **{way: float(wrong.double().mean()) for way, wrong in all_wrong.items()},
                "ahead": {way: _ahead(all_wrong[best], all_wrong[way]) for way in others},
            }
    return found


def _fooled_by(
    how: tuple[LogitLoss, MinMaxPGD, bool],
    nets: Sequence[nn.Module],
    x: torch.Tensor,
    y: torch.Tensor,
    threat: hb.threat.Threat,
) -> torch.Tensor:
    """For each image, whether one perturbation of it fools all nets."""
    loss, search, one_unit = how
    if one_unit:
        nets = in_one_unit(nets, x[:500], y[:500], threat)
    wrong = torch.empty(len(y), dtype=torch.bool)
    for start in range(0, len(y), 500):
        part = slice(start, start + 500)
        told = ensemble(nets, y[part], loss)
        x_adv = search(told, x[part], threat, generator(0, start, device=x.device)).x
        with torch.no_grad():
            wrong[part] = torch.stack([net(x_adv).argmax(1) != y[part] for net in nets]).all(0)
    return wrong


def _ahead(one: torch.Tensor, other: torch.Tensor) -> dict[str, Any]:
    """By how much more often, and the 95% interval of that, the images being the same."""
    difference = one.double() - other.double()
    half = 1.96 * float(difference.std()) / len(difference) ** 0.5
    mean = float(difference.mean())
    return {"difference": mean, "ci95": [mean - half, mean + half]}


def attack_all(data: hb.Data) -> None:
    """Each ensemble attacked, once, where its nets are there."""
    for kind, names in ENSEMBLES.items():
        there = all((WORK / name / FILE).exists() for name in names)
        if there and not _together(kind).exists():
            _together(kind).write_text(json.dumps(fooled(data, names)))


def _together(kind: str) -> Path:
    return WORK / f"{kind} ensemble.json"


SERIES = Series(WORK, UNION, entries(), PROOFS, last=attack_all, bf16=False)


def publish() -> None:
    """The JSON and the picture of one row's weights, beside this script."""
    found: dict[str, Any] = {"over_seeds": summary(SERIES.finished())}
    for kind in ENSEMBLES:
        if _together(kind).exists():
            found[f"{kind} ensemble"] = json.loads(_together(kind).read_text())
    log = WORK / DENSE / "metrics.csv"
    if log.exists():
        with log.open() as file:
            threat_weights.draw(list(csv.DictReader(file)), HERE / "results" / "min_max_mnist.png")
    SERIES.record(HERE / "results" / "min_max_mnist.json", __doc__ or "", **found)


if __name__ == "__main__":
    SERIES.main(__doc__ or "", publish)
