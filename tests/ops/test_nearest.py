"""Nearest centroids, against the definition."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hauberk.ops.nearest import bucketize, nearest

_floats = st.floats(-100, 100, width=32)


@given(st.lists(_floats, max_size=30), st.lists(_floats, min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_no_centroid_is_nearer(values: list[float], centroids: list[float]) -> None:
    v, c = torch.tensor(values), torch.tensor(sorted(set(centroids)))
    gap = (v.double() - nearest(v, c).double()).abs()
    assert torch.equal(gap, (v.double()[:, None] - c.double()).abs().amin(1))


@pytest.mark.parametrize("spacing", ["even", "crowded", "one far away", "equal", "two"])
def test_the_table_agrees_with_torch(spacing: str) -> None:
    rng = torch.Generator().manual_seed(0)
    v = torch.randn(300_001, generator=rng)
    even = torch.linspace(-2, 2, 255)
    edges = {
        "even": even,
        "crowded": even**9,
        "one far away": torch.cat([even, torch.tensor([1e6])]),
        "equal": torch.zeros(5),
        "two": torch.tensor([-1.0, 1.0]),
    }[spacing]
    v[: len(edges)] = edges  # equality counts as below
    assert torch.equal(bucketize(v, edges), torch.bucketize(v, edges, out_int32=True))
