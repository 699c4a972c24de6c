"""Information content, against whole numbers."""

from __future__ import annotations

from math import comb, log2

import pytest

from hauberk.ops.information import choice_bits, most_choice_bits


@pytest.mark.parametrize("total", [0, 1, 2, 7, 300])
def test_is_the_logarithm_of_the_binomial(total: int) -> None:
    for chosen in range(total + 1):
        assert choice_bits(total, chosen) == pytest.approx(log2(comb(total, chosen)), abs=1e-9)
        most = max(log2(comb(total, j)) for j in range(chosen + 1))
        assert most_choice_bits(total, chosen) == pytest.approx(most, abs=1e-9)


def test_large_trees() -> None:
    # the entropy bound: 1% of 21 million positions
    share, n = 0.01, 21_000_000
    entropy = -n * (share * log2(share) + (1 - share) * log2(1 - share))
    assert choice_bits(n, n // 100) == pytest.approx(entropy, rel=1e-4)
