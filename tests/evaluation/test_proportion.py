from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from hauberk.evaluation import Proportion


@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy(counts: tuple[int, int]) -> None:
    share = Proportion(*counts)
    low, high = binomtest(*counts).proportion_ci(0.95, method="wilson")
    assert share.ci95 == pytest.approx((low, high), abs=1e-12)
    assert 0 <= share.ci95[0] <= share.accuracy <= share.ci95[1] <= 1


def test_json_and_counts() -> None:
    share = Proportion.of(torch.tensor([True, False, True, True]))
    assert share.json() == {"accuracy": 0.75, "ci95": list(share.ci95), "n": 4}
    for bad in ((0, 0), (5, 4), (-1, 4)):
        with pytest.raises(ValueError, match="proportion"):
            Proportion(*bad)
