"""A robust teacher on MNIST at half a percent of the bytes.

    python benchmarks/teacher_mnist.py --data ../shared/data/mnist

`lenet:2`, eps 0.2, the dense net and recipe of reweighted_mnist.py: the first 10,000 training
images, two soft steps a batch, 12 epochs under the falling budget and 4 with codebooks. This net is
small enough to lose robustness at this size, which a teacher might bring back. "labels" learns from
these alone; "taught" from the dense net's soft labels in their place, "half taught" from both
alike; "q 0.45" has a loss that saturates, the teacher's, too. The "wider" teacher is a `lenet:8`,
trained as the dense net was. Measured on the decoded file: PGD-40 on the first 2,000 test images,
AutoAttack on the first 500. Finished rows are kept in runs/teacher_mnist and not done again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import hauberk as hb
from _series import Entry, Series, over_seeds
from methods_mnist import PROOF as METHODS_PROOF
from reweighted_mnist import DENSE, HOW, MODEL, THREAT, TRAINED

HERE, WORK = Path(__file__).parent, Path("runs/teacher_mnist")
SEEDS = (0, 1, 2)
WIDER = "wider, dense"
LABELS = hb.Sized(size="0.5%", epochs=12, codebook_epochs=4, slim=True, **HOW)
TAUGHT = replace(LABELS, teacher="self")
METHODS: Mapping[str, hb.Method] = {
    "labels": LABELS,
    "taught": TAUGHT,
    "half taught": replace(TAUGHT, teacher_share=0.5),
    "labels, q 0.45": replace(LABELS, q=0.45),
    "taught, q 0.45": replace(TAUGHT, q=0.45),
    "taught by the wider net": replace(LABELS, teacher=str(WORK / WIDER / "model.hbk")),
}


def entries() -> Mapping[str, Entry]:
    """Two dense nets; from the narrow one each way to learn, for each seed."""
    found = {
        "dense": Entry(DENSE, MODEL, images=TRAINED),
        WIDER: Entry(DENSE, "lenet:8", images=TRAINED),
    }
    for seed in SEEDS:
        for name, method in METHODS.items():
            found[f"{name}, seed {seed}"] = Entry(
                method, MODEL, "dense", seed, "dense", images=TRAINED
            )
    return found


PROOF = replace(METHODS_PROOF, limit=2000)
SERIES = Series(WORK, THREAT, entries(), {"robust": PROOF}, bf16=False, watched=500)


def publish() -> None:
    """The JSON beside this script."""
    found = over_seeds(SERIES.finished())
    SERIES.record(HERE / "results" / "teacher_mnist.json", __doc__ or "", over_seeds=found)


if __name__ == "__main__":
    SERIES.main(__doc__ or "", publish)
