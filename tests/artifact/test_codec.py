"""Encode → decode is exact to the bit, whatever the tensor; and the bits are near the entropy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from hauberk.artifact import codec
from hauberk.artifact.ans import Reader, Writer
from hauberk.artifact.bit_patterns import NUMBERS, place_of
from hauberk.artifact.table import Stored
from hauberk.parametrize.factors import Factors


def coded(value: Tensor | Factors) -> tuple[codec.DecodedTensor, Stored, int]:
    out = Writer()
    entry = codec.write(out, "w", value)
    stream = out.to_bytes()
    source = Reader(stream)
    found = codec.read(source, entry, len(stream))
    source.finish()
    return found, entry.stored, len(stream)


def same_bits(a: Tensor, b: Tensor) -> bool:
    kind = NUMBERS[place_of(a.dtype)]
    integers = [t.contiguous().view(kind.carrier) for t in (a, b)]
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(*integers)


def sparse(shape: tuple[int, ...], keep: float, levels: int, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    book = np.unique(rng.normal(size=4 * levels).astype(np.float16))
    book = rng.permutation(book[book != 0])[:levels]
    w = rng.choice(book.astype(np.float32), size=shape)
    return torch.from_numpy(np.where(rng.random(shape) < keep, w, np.float32(0)))


tiny = torch.finfo(torch.float32).tiny
TENSORS = {
    "zeros": torch.zeros(7, 5),
    "one weight": torch.zeros(40, 30).index_put(
        (torch.tensor(17), torch.tensor(3)), torch.ones(())
    ),
    "last weight": torch.cat([torch.zeros(299), torch.ones(1)]),
    "all but one": torch.cat([torch.ones(299), torch.zeros(1)]),
    "empty": torch.zeros(0, 5),
    "empty of one axis": torch.zeros(0),
    "scalar": torch.tensor(0.25),
    "zero scalar": torch.tensor(0.0),
    "minus zero": torch.tensor([0.0, -0.0, 1.0, -0.0]),
    "subnormal": torch.tensor([tiny / 2, -tiny / 1024, 1e-45, 0.0]),
    "extremes": torch.tensor([3.4e38, -3.4e38, tiny, -1e-45]),
    "ones": torch.ones(64),
    "dense": torch.randn(50, 40, generator=torch.Generator().manual_seed(0)),
    "half full": sparse((60, 50), 0.5, 4),
    "nearly full": sparse((60, 50), 0.97, 4),
    "conv": sparse((16, 8, 3, 3), 0.1, 16),
    "dead rows and columns": torch.where(
        (torch.arange(80) % 7 == 0)[:, None] & (torch.arange(90) % 5 == 0),
        sparse((80, 90), 0.3, 8),
        torch.zeros(()),
    ),
    "signs of zero": sparse((80, 90), 0.3, 8) * -0.0,
    "channels last": sparse((8, 4, 3, 3), 0.2, 8).to(memory_format=torch.channels_last),
    "transposed": sparse((30, 20), 0.2, 8).T,
    "int64 buffer": torch.tensor(12345),
    "int64 extremes": torch.tensor([-(2**63), 2**63 - 1, 0, -1]),
    "uint8": torch.arange(256, dtype=torch.uint8),
    "bool": torch.arange(100) % 3 == 0,
    "int8": torch.arange(-128, 128).to(torch.int8),
    "int16": torch.tensor([-32768, 32767, 0], dtype=torch.int16),
    "int32": torch.tensor([-(2**31), 2**31 - 1, 5], dtype=torch.int32),
    "float16": torch.randn(100, generator=torch.Generator().manual_seed(1)).half(),
    "bfloat16": torch.randn(100, generator=torch.Generator().manual_seed(2)).bfloat16(),
    "float64": torch.randn(100, generator=torch.Generator().manual_seed(3)).double(),
}


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS.keys())
def test_round_trip_is_exact(tensor: Tensor) -> None:
    found, stored, nbytes = coded(tensor)
    assert stored is Stored.PLAIN
    assert same_bits(found.tensor, tensor)
    width = tensor.element_size()
    assert nbytes <= width * tensor.numel() + 24


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("keep", [0.05, 1.0])
def test_codebooks_of_every_size(bits: int, keep: float) -> None:
    rng = np.random.default_rng(bits)
    book = rng.permutation(np.linspace(0.1, 1, 2**bits, dtype=np.float32))
    w = rng.choice(book, size=(300, 2 ** max(6, bits - 7)))
    tensor = torch.from_numpy(np.where(rng.random(w.shape) < keep, w, np.float32(0)))
    found, _, _ = coded(tensor)
    assert same_bits(found.tensor, tensor)
    assert bits > 10 or found.bits <= bits


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: str(n.dtype))
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_any_bit_patterns(number: object, data: st.DataObject) -> None:
    kind = NUMBERS[NUMBERS.index(number)]  # type: ignore[arg-type]
    limit = 1 if kind.dtype is torch.bool else 2**kind.bits - 1
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6))
    few = st.sampled_from(data.draw(st.lists(st.integers(0, limit), min_size=1, max_size=4)))
    elements = data.draw(st.sampled_from([few, st.integers(0, limit)]))
    raw = data.draw(hnp.arrays(kind.unsigned, shape, elements=elements))
    carrier = raw.view(np.uint8 if kind.carrier is torch.uint8 else f"i{kind.bits // 8}")
    tensor = torch.from_numpy(carrier.reshape(-1).copy()).view(kind.dtype).reshape(shape)
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        with pytest.raises(ValueError, match="NaN or infinite"):
            coded(tensor)
    else:
        assert same_bits(coded(tensor)[0].tensor, tensor)


@given(
    shape=st.sampled_from([(0, 5), (400,), (30, 20, 3, 3), (90, 70), (3, 500), (25, 1, 5, 5)]),
    keep=st.sampled_from([0.0, 0.003, 0.05, 0.5, 0.98, 1.0]),
    bits=st.integers(1, 8),
    alive=st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=80, deadline=None)
def test_pruned_codebooked_tensors_come_back_near_their_entropy(
    shape: tuple[int, ...], keep: float, bits: int, alive: tuple[float, float], seed: int
) -> None:
    """Whatever lives: all rows and columns, or a few."""
    rng = np.random.default_rng(seed)
    lines = [rng.random(n) < share for n, share in zip(shape, alive, strict=False)]
    living = lines[0].reshape(-1, *[1] * (len(shape) - 1))
    if len(shape) > 1:
        living = living & lines[1].reshape(1, -1, *[1] * (len(shape) - 2))
    tensor = torch.where(torch.from_numpy(living), sparse(shape, keep, 2**bits, seed), 0.0)
    found, _, nbytes = coded(tensor)
    assert same_bits(found.tensor, tensor)
    kept = tensor[tensor != 0].numpy()
    plain = entropy_bits(np.array([len(kept), tensor.numel() - len(kept)]))
    plain += entropy_bits(np.unique(kept, return_counts=True)[1])
    levels = len(np.unique(kept))
    learning = 2 * levels + 0.5 * levels * np.log2(1 + len(kept) / max(levels, 1))
    assert found.bits <= bits or len(kept) < 8 * levels  # then the values are shorter as they are
    assert 8 * nbytes <= 1.03 * plain + 14 * levels + learning + 24 * 8


def test_bits_are_accounted_for_by_part() -> None:
    w = sparse((430, 1000), 0.02, 16)
    found, _, nbytes = coded(w)
    parts, kept = found.parts, w[w != 0].numpy()
    assert abs(parts.positions + parts.codes + parts.codebook - 8 * nbytes) <= 32
    assert parts.position_entropy == pytest.approx(
        entropy_bits(np.array([len(kept), w.numel() - len(kept)]))
    )
    assert parts.code_entropy == pytest.approx(entropy_bits(np.unique(kept, return_counts=True)[1]))
    assert parts.position_entropy < parts.positions < 1.01 * parts.position_entropy
    assert parts.code_entropy < parts.codes < 1.03 * parts.code_entropy
    assert 16 * 5 < parts.codebook < 16 * 16


def test_classes_of_rows_are_in_the_entropy_of_positions() -> None:
    dead = torch.where((torch.arange(400) % 8 == 0)[:, None], sparse((400, 300), 0.3, 8), 0.0)
    parts = coded(dead)[0].parts
    kept = int((dead != 0).sum())
    inside = entropy_bits(np.array([kept, 50 * 300 - kept]))
    labels = entropy_bits(np.array([50, 350]))
    assert parts.position_entropy == pytest.approx(inside + labels)
    assert parts.positions < 1.03 * parts.position_entropy


def test_factors_add_up() -> None:
    value = factors(60, 3, 80, 1.0)
    found = coded(value)[0]
    u, v, c = (coded(part)[0].parts for part in value[:3])
    total = u.plus(v).plus(c)
    assert found.parts[3:] == pytest.approx(total[3:])
    assert found.parts[:3] == pytest.approx(total[:3], abs=3 * 24)  # a stream ends in a symbol's 24


def test_a_value_that_the_sample_missed_joins_the_codebook() -> None:
    rng = torch.Generator().manual_seed(0)
    book = torch.randn(40, generator=rng)
    tensor = book[torch.randint(0, 40, (300_001,), generator=rng)]
    tensor[7] = 0.123  # met once, off the sample's grid
    found, _, nbytes = coded(tensor)
    assert same_bits(found.tensor, tensor)
    assert nbytes < 300_001 * 5.5 / 8


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="'w' holds NaN or infinite numbers"):
        coded(torch.tensor([1.0, bad]))
    with pytest.raises(ValueError, match="NaN or infinite"):
        coded(Factors(torch.tensor([[bad]]), torch.ones(1, 1), torch.ones(1, 1), (1, 1)))


def test_unknown_type_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'w' is a .* of torch.complex64; a file holds"):
        coded(torch.zeros(2, dtype=torch.complex64))


def entropy_bits(counts: np.ndarray) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum() * counts.sum())


@pytest.mark.parametrize("keep", [0.003, 0.01, 0.1, 0.4, 0.9])
def test_near_the_entropy_of_a_random_support(keep: float) -> None:
    w = sparse((430, 1000), keep, 16)
    kept = int((w != 0).sum())
    ideal = entropy_bits(np.array([kept, w.numel() - kept]))
    ideal += entropy_bits(np.unique(w[w != 0].numpy(), return_counts=True)[1])
    nbytes = coded(w)[2]
    assert ideal / 8 < nbytes < 1.005 * ideal / 8 + 60  # a codebook of 16 is at most 32 bytes


def test_below_the_plain_entropy_where_rows_and_columns_differ() -> None:
    rng = np.random.default_rng(0)
    rows, columns = rng.choice([0, 0.02, 0.3], 400), rng.choice([0, 0.1, 0.5], 600)
    p = np.outer(rows, columns)
    w = torch.from_numpy((rng.random(p.shape) < p).astype(np.float32))
    plain = entropy_bits(np.unique(w.numpy(), return_counts=True)[1])
    inside = p[(p > 0) & (p < 1)]
    known = float(-(inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside)).sum())
    labels = (400 + 600) * np.log2(3)
    nbytes = coded(w)[2]
    assert 8 * nbytes < 0.9 * plain
    assert 8 * nbytes < 1.03 * (known + labels) + 300


def test_small_dense_tensors_cost_no_more_than_their_floats() -> None:
    bias = torch.randn(50, generator=torch.Generator().manual_seed(0))
    assert coded(bias)[2] <= 4 * 50
    assert coded(bias.half().float())[2] <= 2 * 50


def test_codebook_of_float16_values_is_stored_in_fewer_bits() -> None:
    wide = torch.randn(256, generator=torch.Generator().manual_seed(0))
    pick = torch.randint(256, (5000,), generator=torch.Generator().manual_seed(1))
    assert coded(wide[pick])[2] - coded(wide.half().float()[pick])[2] > 256 * 12 // 8


def factors(rows: int, inner: int, columns: int, keep: float, seed: int = 0) -> Factors:
    u, v = sparse((rows, inner), keep, 8, seed), sparse((inner, columns), keep, 8, seed + 1)
    return Factors(u, v, sparse((rows, columns), keep / 50, 8, seed + 2), (rows, columns))


def test_low_rank_factors_stay_factors() -> None:
    value = factors(60, 3, 80, 1.0)
    found, stored, _ = coded(value)
    assert stored is Stored.FACTORS
    assert same_bits(found.tensor, value.dense())


def test_a_correction_to_the_identity_is_stored_as_that() -> None:
    one = factors(60, 60, 80, 0.03)
    value = one._replace(u=one.u + torch.eye(60), v=one.v * 0 + sparse((60, 80), 0.3, 8))
    found, stored, _ = coded(value)
    assert stored is Stored.FACTORS_FROM_IDENTITY
    assert same_bits(found.tensor, value.dense())
    assert found.kept == sum(
        int((part != 0).sum()) for part in (value.u - torch.eye(60), value.v, value.c)
    )


def test_factors_that_save_nothing_become_their_product() -> None:
    value = factors(20, 300, 30, 1.0)
    found, stored, nbytes = coded(value)
    assert stored is Stored.PLAIN
    assert same_bits(found.tensor, value.dense())
    assert nbytes <= coded(value.dense())[2]


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_factors_decode_to_their_product(rows: int, inner: int, columns: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    u, v, c = (
        torch.randn(shape, generator=rng) * (torch.rand(shape, generator=rng) < 0.5)
        for shape in ((rows, inner), (inner, columns), (rows, columns))
    )
    value = Factors(u, v, c, (rows, columns, 1))
    assert same_bits(coded(value)[0].tensor, value.dense())


def test_the_product_is_the_stated_sum() -> None:
    """Σ_k u_k v_k with k ascending, then C, in float64: no library's own order."""
    value = factors(6, 5, 7, 1.0)
    u, v, c = (t.double().tolist() for t in value[:3])
    for i, row in enumerate(value.dense().reshape(6, 7)):
        for j, got in enumerate(row):
            total = 0.0
            for k in range(5):
                total += u[i][k] * v[k][j]
            assert float(got) == float(torch.tensor(total + c[i][j]).float())
