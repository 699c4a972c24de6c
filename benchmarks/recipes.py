"""What several tables share: threats, dense nets, recipes, protocols, each a value with a name.

A value of this file never changes once a record was made with it: another one gets another name,
so that no table moves with another. `tests/benchmarks/test_benchmarks.py` compares the settings
of every row with those in its record.
"""

from __future__ import annotations

from dataclasses import replace

import hauberk as hb
from hauberk.evaluation import Evaluation

SEEDS = (0, 1, 2)

LINF_76 = hb.Linf(76 / 255)
"""The ATMC paper's threat on MNIST, for `caffe-lenet`."""
LINF_02 = hb.Linf(0.2)
"""For `lenet:2` and `lenet:4`."""

PGD100_AUTOATTACK = Evaluation(
    LINF_76,
    "linf:76/255",
    {"pgd:100 (2 starts)": hb.PGD(100, 2.5 * LINF_76.eps / 40)},
    autoattack=True,
    autoattack_limit=1000,
    restarts=2,
)
"""PGD-100 with two random starts on every test image; AutoAttack on the first 1,000."""
PGD100_AUTOATTACK_1000 = replace(PGD100_AUTOATTACK, limit=1000, timing=False)
"""Both on the first 1,000 test images."""
PGD40_1000_AUTOATTACK_500 = Evaluation(
    LINF_02,
    "linf:0.2",
    {"pgd:40": hb.PGD(40, track=True)},
    autoattack=True,
    limit=1000,
    autoattack_limit=500,
    check_limit=0,
    timing=False,
)
"""PGD-40 on the first 1,000 test images, AutoAttack on the first 500."""
PGD40_AUTOATTACK_1000 = replace(PGD40_1000_AUTOATTACK_500, autoattack_limit=1000)
"""Both on the first 1,000 test images, at `LINF_02`."""

DENSE_12 = hb.DA().with_(epochs=12, lr=6e-3, attack_steps=2, reuse=True)
"""A dense `caffe-lenet`, by two clipped-gradient steps a batch."""
DENSE_24 = hb.DA().with_(epochs=24, lr=6e-3, attack_steps=1, reuse=True, warmup=0.1, half=False)
"""A dense `lenet:2` or `lenet:4`, by one clipped-gradient step a batch."""

ADMM_RHO_97 = 60.0
"""The better of 5 and 60 for ADMM at 97% sparsity of `lenet:2`, on validation images."""


def two_steps(method: hb.Method) -> hb.Method:
    """The method by two clipped-gradient steps a batch, from the previous perturbations."""
    return method.with_(lr=5e-3, attack_steps=2, reuse=True)


def byte_recipe(method: hb.ATMC | hb.SizeTarget) -> hb.Method:
    """13 epochs for `caffe-lenet`: 9 under the falling budget, 4 with codebooks; dead units go."""
    epochs = method.with_(epochs=9, codebook_epochs=4)
    return two_steps(epochs).with_(q=0.45, average=0.9995, slim=True)


def small_recipe(method: hb.ATMC | hb.SizeTarget | hb.RobustBoosting) -> hb.Method:
    """16 epochs for a `lenet`: 12 under the falling budget, 4 with codebooks; dead units go."""
    return two_steps(method.with_(epochs=12, codebook_epochs=4)).with_(slim=True)
