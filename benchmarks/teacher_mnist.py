"""A robust teacher on MNIST at half a percent of the bytes. To show, or to refute (no run of this
script is published yet): over three seeds, ATMC with the dense net as its teacher is more robust
under AutoAttack than ATMC with the labels alone, at the same bytes.

    python benchmarks/teacher_mnist.py --data ../shared/data/mnist

`caffe-lenet`, eps 76/255; ATMC as in benchmarks/atmc_mnist.py ("ATMC-4bit-0.5%"), from that
script's dense net, which also teaches. The labels keep the saturating loss (q 0.45) that did best
there. Each row is trained, written as a file, and measured on the decoded file: PGD-100 with two
starts on 10,000 test images, AutoAttack on the first 1,000. Finished rows are kept in
runs/atmc_mnist, beside the dense net's, and not done again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import hauberk as hb
from _record import record
from _series import Entry, Series, over_seeds
from atmc_mnist import HONEST, THREAT, atmc
from atmc_mnist import SERIES as PAPER
from atmc_mnist import row as started

HERE = Path(__file__).parent
SEEDS = (0, 1, 2)
PLAIN = atmc(0.0155, 4, 6)
STUDENTS: Mapping[str, hb.Method] = {
    "labels": PLAIN,
    "teacher": replace(PLAIN, teacher="self"),
    "teacher, soft attack": replace(PLAIN, teacher="self", soft_attack=True),
    "half teacher": replace(PLAIN, teacher="self", teacher_share=0.5),
}
ENTRIES: Mapping[str, Entry] = {
    **{name: PAPER.entries[name] for name in ("DA, first leg", "DA, second leg", "DA")},
    **{
        f"{name}, seed {seed}": started(method, seed)
        for seed in SEEDS
        for name, method in STUDENTS.items()
    },
}
SERIES = Series(PAPER.work, THREAT, ENTRIES, HONEST)


def publish() -> None:
    """The JSON beside this script."""
    rows, (claim, command) = SERIES.finished(), (__doc__ or "").split("\n\n")[:2]
    results = {"rows": rows, "over_seeds": over_seeds(rows)}
    record(HERE / "results" / "teacher_mnist.json", claim, results, command=command.strip())


if __name__ == "__main__":
    SERIES.main(__doc__ or "", publish)
