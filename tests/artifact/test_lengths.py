"""The cost of a tensor is the length of its stream; a price is near the cost of what it prices."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.command import anchors
from torch import Tensor

from hauberk.artifact import codec
from hauberk.artifact.ans import Writer
from hauberk.artifact.lengths import bits, price
from hauberk.ops.kmeans import kmeans
from hauberk.ops.topk import keep_largest
from hauberk.parametrize.factors import Factors

BYTES = 16.0
"""What a cost may be off by where 1% is less."""


@pytest.fixture(autouse=True, scope="module")
def all_anchors() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        anchors(patch, 12)
        yield


def stream_bits(value: Tensor | Factors) -> int:
    out = Writer()
    codec.write(out, "w", value)
    return 8 * len(out.to_bytes())


def largest(w: Tensor, keep: int) -> Tensor:
    return w * keep_largest({"w": w.abs()}, keep)["w"] + 0.0


def near(found: float, true: float, share: float) -> bool:
    return abs(found - true) <= max(share * true, 8 * BYTES)


def plain(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def uneven(seed: int, *shape: int) -> Tensor:
    """Gaussian, in rows and columns of different strength."""
    rng = torch.Generator().manual_seed(seed)
    rows = torch.rand(shape[0], *[1] * (len(shape) - 1), generator=rng)
    columns = torch.rand(1, shape[1], *[1] * (len(shape) - 2), generator=rng)
    return torch.randn(shape, generator=rng) * rows * columns


@pytest.mark.slow
@given(
    shape=st.sampled_from([(500,), (50, 20, 5, 5), (120, 90), (7, 900), (30, 1, 3, 3), (1, 1)]),
    keep=st.floats(0.001, 1.0),
    levels=st.integers(1, 8),
    dead=st.sampled_from(["none", "rows", "columns", "both"]),
    skewed=st.booleans(),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_the_cost_is_the_length_of_the_stream(
    shape: tuple[int, ...], keep: float, levels: int, dead: str, skewed: bool, seed: int
) -> None:
    w = uneven(seed, *shape) if skewed and len(shape) > 1 else plain(seed, *shape)
    if dead in ("rows", "both"):
        w[::3] = 0
    if dead in ("columns", "both") and len(shape) > 1:
        w[:, ::2] = 0
    w = kmeans(largest(w, round(keep * w.numel())), 1 << levels)
    assert near(bits(w), stream_bits(w), 0.01)


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(0),
        torch.zeros(40, 30),
        torch.tensor(0.5),
        torch.tensor(12345),
        plain(0, 300, 200),
        Factors(torch.ones(60, 2), plain(1, 2, 80), torch.zeros(60, 80), (60, 80)),
    ],
    ids=["empty", "zeros", "scalar", "integer", "dense floats", "factors"],
)
def test_the_cost_of_anything_that_a_file_holds(value: Tensor | Factors) -> None:
    assert near(bits(value), stream_bits(value), 0.01)


def test_the_cost_of_eleven_million_weights_is_known_at_once() -> None:
    w = largest(uneven(0, 512, 512, 3, 3), 100_000).sign()
    start = time.process_time()
    bits(w)
    assert (time.process_time() - start) * 11e6 / w.numel() < 2


PRICED = {
    "even matrix": (plain(1, 300, 400), 0.002),
    "uneven matrix": (uneven(2, 300, 400), 0.002),
    "convolution": (uneven(3, 50, 20, 5, 5), 0.01),
    "small": (plain(4, 20, 1, 5, 5), 0.02),
    "bias": (plain(5, 500), 0.02),
    "dead filters": (uneven(6, 64, 32, 3, 3) * (torch.arange(64) % 2).view(-1, 1, 1, 1), 0.01),
}


@pytest.mark.slow
@pytest.mark.parametrize(("w", "least"), PRICED.values(), ids=PRICED.keys())
def test_prices_are_near_what_is_bought(w: Tensor, least: float) -> None:
    counts = np.geomspace(least, 0.6, 30) * int(torch.count_nonzero(w))
    counts = np.maximum(counts, 1).astype(np.int64)
    prices = price(w, counts.tolist(), range(1, 9))
    assert prices.shape == (30, 8)
    for i in range(2, 30, 9):
        for b in (1, 3, 5, 8):
            bought = bits(kmeans(largest(w, int(counts[i])), 1 << b))
            assert near(prices[i, b - 1], bought, 0.08 if b == 1 else 0.05)


def test_weights_in_few_rows_are_cheaper() -> None:
    anywhere = plain(0, 200, 300)
    rows = anywhere * torch.where(torch.arange(200) % 10 == 0, 1.0, 1e-3)[:, None]
    scattered, gathered = (price(w, [5000], [3])[0, 0] for w in (anywhere, rows))
    assert gathered < 0.7 * scattered


def test_nothing_kept_and_more_than_there_is() -> None:
    w = largest(uneven(0, 60, 50), 700)
    none, all_of_it, more = price(w, [0, 700, 10**9], [4])[:, 0]
    assert none < 8 * BYTES
    assert all_of_it == more
    assert near(price(torch.zeros(30, 20), [5], [2])[0, 0], bits(torch.zeros(30, 20)), 0.05)
    assert price(torch.zeros(0, 20), [5], [2]).shape == (1, 1)


def test_more_weights_and_more_bits_cost_more() -> None:
    prices = price(uneven(0, 100, 90), [50, 200, 800, 3000], range(1, 9))
    assert (np.diff(prices, axis=0) > 0).all()
    assert (np.diff(prices[2:], axis=1) > 0).all()


@pytest.mark.parametrize(
    ("w", "counts", "b", "says"),
    [
        (torch.ones(3), [1], [0], "bits were given as"),
        (torch.ones(3), [1], [9], "bits were given as"),
        (torch.ones(3), [1], [], "bits were given as"),
        (torch.ones(3), [-1], [2], "keep_counts"),
        (torch.ones(3), [], [2], "keep_counts"),
        (torch.tensor([float("nan")]), [1], [2], "finite"),
        (torch.tensor([1]), [1], [2], "finite"),
    ],
)
def test_nonsense_is_refused(w: Tensor, counts: list[int], b: list[int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        price(w, counts, b)
