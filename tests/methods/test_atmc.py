"""ATMC on whole networks: the budget of all layers, or of each."""

from __future__ import annotations

import pytest
from tests.helpers.nets import mlp, toy

import hauberk as hb


@pytest.mark.parametrize("paper", [False, True])
def test_without_across_each_layer_keeps_its_share(paper: bool) -> None:
    method = hb.ATMC(
        keep=0.2, bits=2, across=False, paper=paper, codebook_epochs=1, dense_epochs=1
    ).with_(epochs=2)
    made = hb.compress(mlp(), toy(), method=method, threat=hb.Linf(0.1))
    kept = [v.kept for v in made.artifact.layers() if v.name.endswith("weight")]
    assert kept == [144, 12]


def test_across_the_layers_share_one_budget() -> None:
    method = hb.ATMC(keep=0.2, bits=2, codebook_epochs=0, dense_epochs=1).with_(epochs=2)
    made = hb.compress(mlp(), toy(), method=method, threat=hb.Linf(0.1))
    kept = [v.kept for v in made.artifact.layers() if v.name.endswith("weight")]
    assert sum(kept) == 156
    assert kept != [144, 12]
