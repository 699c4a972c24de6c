from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.pictures import encoded, write

from hauberk.data import load
from hauberk.data.holdout import stratified

MNIST = Path(os.environ.get("MNIST", "mnist"))  # a Parquet file of it, where there is one


@pytest.fixture
def pictures() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (60, 5, 4), np.uint8), np.arange(60) % 3


def test_digits_are_split_the_same_for_every_seed() -> None:
    a, b = load("digits"), load("digits", seed=3)
    assert [len(a.train), len(a.validation), len(a.test)] == [1078, 270, 449]
    assert a.shape == (1, 8, 8) and a.classes == 10 and a.train.x.dtype == torch.uint8
    assert int(a.train.x.max()) == 255 and torch.equal(a.test.x, b.test.x)
    every = torch.cat([a.train.x, a.validation.x, a.test.x]).flatten(1)
    assert every.sum(0).tolist() == _all_digits().sum(0).tolist()
    for part in (a.train, a.validation, a.test, a.test.first(100)):
        share = torch.bincount(part.y, minlength=10) / len(part)
        assert float((share - 0.1).abs().max()) < 0.02


def _all_digits() -> torch.Tensor:
    from sklearn.datasets import load_digits

    return torch.from_numpy(np.rint(load_digits().data * (255 / 16)).astype(np.uint8))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_every_prefix_is_stratified(labels: list[int], seed: int) -> None:
    y = torch.tensor(labels)
    order = stratified(y, seed)
    assert sorted(order.tolist()) == list(range(len(y)))
    counts = torch.bincount(y, minlength=5)
    for k in range(len(y) + 1):
        got = torch.bincount(y[order[:k]], minlength=5)
        assert float((got - counts * k / len(y)).abs().max()) <= 2


def test_parquet_pair_is_found_from_any_of_its_names(tmp_path: Path, pictures: tuple) -> None:
    x, y = pictures
    write(tmp_path / "a-train.parquet", [encoded(i) for i in x[:50]], y[:50].tolist())
    write(tmp_path / "a-test.parquet", [encoded(i) for i in x[50:]], y[50:].tolist())
    for name in ("a-train.parquet", "a-test.parquet", "a"):
        data = load(tmp_path / name)
        assert (data.name, data.classes, data.shape) == ("a", 3, (1, 5, 4))
        assert [len(data.train), len(data.validation), len(data.test)] == [45, 5, 10]
        assert torch.equal(data.test.x[:, 0], torch.from_numpy(x[50:]))
    other = load(tmp_path / "a", seed=1)
    assert torch.equal(other.test.x, data.test.x)
    assert not torch.equal(other.validation.x, data.validation.x)


def test_lone_files(tmp_path: Path, pictures: tuple) -> None:
    x, y = pictures
    color = [encoded(np.stack([i] * 3, 2)) for i in x]
    lone = load(write(tmp_path / "b.parquet", color, y.tolist(), names=None))
    assert [len(lone.train), len(lone.validation), len(lone.test)] == [48, 6, 6]
    assert lone.shape == (3, 5, 4) and lone.classes == 3
    assert torch.equal(load(tmp_path / "b.parquet", seed=9).test.x, lone.test.x)
    test = load(write(tmp_path / "b-test.parquet", color, y.tolist(), names=7))
    assert len(test.test) == 60 and len(test.train) == 0 and test.classes == 7
    assert test.train.shape == (3, 5, 4)


def test_npz(tmp_path: Path, pictures: tuple) -> None:
    x, y = pictures
    np.savez(tmp_path / "a.npz", x=x, y=y)
    data = load(str(tmp_path / "a.npz"))
    assert data.shape == (1, 5, 4) and len(data.train) == 48
    np.savez(tmp_path / "c.npz", x_train=x / 255, y_train=y, x_test=x[:7], y_test=y[:7])
    data = load(tmp_path / "c.npz")
    assert data.train.x.dtype == torch.float32 and len(data.test) == 7
    assert torch.allclose(data.test.images(), torch.from_numpy(x[:7, None]) / 255)


X, Y = np.zeros((6, 4, 4), np.uint8), np.array([0, 1, 2, 0, 1, 2])
NAN = np.where(np.arange(16).reshape(4, 4) == 5, np.nan, 0.5) * np.ones((6, 1, 1))
BAD = {
    "not a number": (NAN, Y),
    "outside": (np.full((6, 4, 4), 1.5), Y),
    "below": (np.full((6, 4, 4), -0.1), Y),
    "type": (X.astype(np.int64), Y),
    "shape": (np.zeros((6, 16), np.uint8), Y),
    "channels last": (np.zeros((6, 8, 8, 3), np.uint8), Y),
    "length": (X, Y[:5]),
    "negative": (X, Y - 1),
    "fraction": (X, Y + 0.5),
    "two labels each": (X, np.stack([Y, Y], 1)),
    "one class": (X, Y * 0),
    "huge label": (X, Y * 10**12),
    "empty": (X[:0], Y[:0]),
    "no pixel": (np.zeros((6, 0, 4), np.uint8), Y),
    "pickled": (np.array([None] * 6, dtype=object), Y),
    "words and axes": (X, np.array(list("abcabc"))[:, None].repeat(2, 1)),
    "no text": (X, np.array([b"\xff"] * 6)),
    "control": (X, np.array(["a\n", "b"] * 3)),
    "long name": (X, np.array(["a" * 257, "b"] * 3)),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_arrays_are_one_sentence(tmp_path: Path, fault: str) -> None:
    x, y = BAD[fault]
    np.savez(tmp_path / "bad.npz", x=x, y=y)
    assert "bad" in _refused(tmp_path / "bad.npz")


def test_bad_parquet_is_one_sentence(tmp_path: Path, pictures: tuple) -> None:
    x, y = pictures
    good = [encoded(i) for i in x]
    labels = y.tolist()
    assert "row 59" in _refused(write(tmp_path / "1.parquet", [*good[:-1], b"no image"], labels))
    _refused(write(tmp_path / "2.parquet", [*good[:-1], None], labels))
    _refused(write(tmp_path / "3.parquet", [*good[:-1], encoded(x[0, :3])], labels))
    _refused(write(tmp_path / "4.parquet", good, [*labels[:-1], 3]))
    _refused(write(tmp_path / "5.parquet", good, [*labels[:-1], -1]))
    _refused(write(tmp_path / "6.parquet", good, [*labels[:-1], None]))
    _refused(write(tmp_path / "7.parquet", good, [str(k + 1) for k in labels]))
    _refused(write(tmp_path / "8.parquet", [], pa.array([], pa.int64())))
    _refused(write(tmp_path / "9.parquet", good, [1] * 60))
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "10.parquet")
    assert "columns 'a'" in _refused(tmp_path / "10.parquet")


def test_foreign_missing_and_unknown(tmp_path: Path) -> None:
    for name, content in (("a.npz", b""), ("b.npz", b"PK\x03\x04zz"), ("c.parquet", b"PAR1")):
        (tmp_path / name).write_bytes(content)
        _refused(tmp_path / name)
    np.savez(tmp_path / "d.npz", images=X)
    _refused(tmp_path / "d.npz")
    for name in ("no.npz", "no.parquet", "no-test.parquet"):
        with pytest.raises(FileNotFoundError, match="no data file"):
            load(tmp_path / name)
    for name in ("digit", "", tmp_path / "x.csv"):
        with pytest.raises(ValueError, match="unknown"):
            load(name)


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_damage_is_an_error_or_the_data(tmp_path: Path, pictures: tuple, suffix: str) -> None:
    x, y = pictures
    path = tmp_path / f"a.{suffix}"
    if suffix == "npz":
        np.savez_compressed(path, x=x, y=y)
    else:
        write(path, [encoded(i) for i in x], y.tolist())
    whole, rng = path.read_bytes(), np.random.default_rng(1)
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        cut = len(whole) if rng.random() < 0.7 else int(rng.integers(len(whole)))
        path.write_bytes(damaged[:cut])
        try:
            load(path)
        except (ValueError, OSError) as error:
            assert "\n" not in str(error)


@pytest.mark.skipif(not MNIST.is_file(), reason="MNIST is not at hand")
def test_mnist_has_its_published_mean() -> None:
    data = load(MNIST)
    assert len(data.test) == 10_000 and abs(float(data.test.images().mean()) - 0.1325) < 1e-3


def _refused(path: Path) -> str:
    """The sentence."""
    with pytest.raises(ValueError, match=r"file|The data") as caught:
        load(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    return str(caught.value)
