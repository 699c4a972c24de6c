"""Names of classes: from words to indices, into the file, and back under the file's indices."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.helpers.pictures import NAMES, encoded, write, zoo
from torch import nn

import hauberk as hb
from hauberk.cli.inspect import as_json
from hauberk.data import load
from hauberk.evaluation import Evaluation
from hauberk.evaluation.shipped_file import evaluate_file, read
from hauberk.runtime.notes import Note

X = np.random.default_rng(0).integers(0, 256, (60, 5, 4), np.uint8)
WORDS = [NAMES[i % 3] for i in range(60)]


@pytest.mark.parametrize("kind", [str, bytes])
def test_words_in_npz(tmp_path: Path, kind: type) -> None:
    np.savez(
        tmp_path / "a.npz", x=X, y=np.array([w.encode() if kind is bytes else w for w in WORDS])
    )
    data = load(tmp_path / "a.npz")
    assert data.labels == NAMES and data.classes == 3
    for x, y in zip(data.test.x[:, 0], data.test.y, strict=True):
        row = int((torch.from_numpy(X) == x).flatten(1).all(1).nonzero())
        assert WORDS[row] == NAMES[y]


def test_one_mapping_for_all_splits(tmp_path: Path) -> None:
    test = [w for w in WORDS if w != "ant"]
    np.savez(tmp_path / "a.npz", x_train=X, y_train=WORDS, x_test=X[: len(test)], y_test=test)
    data = load(tmp_path / "a.npz")
    assert data.labels == NAMES and sorted(set(data.test.y.tolist())) == [1, 2]


def test_words_and_numbers_do_not_mix(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=X, y_train=WORDS, x_test=X, y_test=np.arange(60) % 3)
    with pytest.raises(ValueError, match="names as labels"):
        load(tmp_path / "a.npz")


def _note(path: Path, names: list[str]) -> Path:
    import pyarrow.parquet as pq

    label = {"names": names, "_type": "ClassLabel"}
    note = json.dumps({"info": {"features": {"label": label}}})
    pq.write_table(pq.read_table(path).replace_schema_metadata({"huggingface": note}), path)
    return path


def test_names_in_parquet(tmp_path: Path) -> None:
    images, numbers = [encoded(i) for i in X], [i % 3 for i in range(60)]
    words = load(write(tmp_path / "a.parquet", images, WORDS, names=None))
    assert words.labels == NAMES
    declared = _note(write(tmp_path / "b.parquet", images, numbers), ["cow", "ant", "bee"])
    assert load(declared).labels == ("cow", "ant", "bee")
    both = load(_note(write(tmp_path / "c.parquet", images, WORDS), ["cow", "ant", "bee"]))
    assert both.labels == ("cow", "ant", "bee")
    assert load(write(tmp_path / "d.parquet", images, numbers)).labels == ()
    write(tmp_path / "e-train.parquet", images, numbers)
    _note(write(tmp_path / "e-test.parquet", images, numbers), ["a", "b", "c"])
    with pytest.raises(ValueError, match="different names"):
        load(tmp_path / "e")


def test_a_user_s_names_are_checked_at_once(tmp_path: Path) -> None:
    data = load(zoo(tmp_path))
    with pytest.raises(ValueError, match="do not fit a file"):
        replace(data, labels=("a", "b"))


def test_data_go_under_the_indices_of_the_file(tmp_path: Path) -> None:
    data = load(zoo(tmp_path))
    known = ("yak", "cow", "ant", "bee")
    moved = data.under(known, 4)
    assert moved.labels == known and moved.classes == 4
    assert [known[k] for k in moved.test.y] == [NAMES[k] for k in data.test.y]
    assert data.under(NAMES, 3) is data
    with pytest.warns(Note, match="taken to have the same order"):
        assert data.under((), 3) is data  # an older file names nothing
    with pytest.raises(ValueError, match=r"'bee'.*give data of the file's classes"):
        data.under(("ant", "cow"), 2)
    few = replace(data, labels=("2", "7", "9"))
    assert few.under((), 10).test.y.tolist() == [(2, 7, 9)[k] for k in data.test.y]


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 3))


METHODS = [
    pytest.param(
        hb.SizeTarget(size="2kB", codebook_epochs=1, most_bits=4).with_(epochs=1),
        marks=pytest.mark.slow,
    ),
    hb.ATMC(codebook_epochs=1).with_(epochs=1),
]


@pytest.mark.parametrize("method", METHODS)
def test_names_reach_the_file_and_its_proof(tmp_path: Path, method: hb.Method) -> None:
    data = load(zoo(tmp_path / "zoo"))
    made = hb.compress(
        small(), data, method=method, threat=hb.Linf(0.01), out=tmp_path, pretrained=True
    )
    assert made.path is not None and made.artifact.about.labels == NAMES
    assert b'"labels":"[\\"ant\\",\\"bee\\",\\"cow\\"]"' in made.path.read_bytes()
    assert not isinstance(method, hb.SizeTarget) or made.artifact.nbytes <= 2000
    assert as_json(made.artifact, "")["labels"] == list(NAMES)
    evaluation = Evaluation(hb.Linf(0.01), "linf:0.01", {"fgsm": hb.attacks.FGSM()}, check_limit=0)
    turned = data.under(("cow", "ant", "bee"), 3)
    rows = [evaluate_file(read(made.path, small()), d, evaluation) for d in (data, turned)]
    assert rows[0].clean == rows[1].clean


def test_names_that_are_numbers_meet_indices() -> None:
    """A folder sorts 10 before 2; the same labels as numbers are the same classes."""
    rng = np.random.default_rng(0)
    x, y = rng.random((36, 1, 4, 4), dtype=np.float32), np.arange(36) % 12
    named = load(((x, y.astype(str)), (x, y.astype(str))))
    plain = load(((x, y), (x, y)))
    assert named.labels[2] == "10"
    assert not plain.labels
    moved = plain.under(named.labels, 12)
    assert moved.test.y.tolist() == named.test.y.tolist()
    assert moved.labels == named.labels
    assert named.under((), 12).test.y.tolist() == y.tolist()
    with pytest.warns(Note, match=r"classes of the file are ant, bee.* are 0, 1.*same order"):
        assert plain.under(("ant", "bee", *"cdefghijkl"), 12) is plain


@pytest.mark.parametrize("kind", [int, str])
def test_a_column_of_labels(tmp_path: Path, kind: type) -> None:
    y = np.arange(60) % 3
    np.savez(tmp_path / "a.npz", x=X, y=y.astype(kind)[:, None])
    assert load(tmp_path / "a.npz").classes == 3


def test_scores_as_labels_name_the_way_out() -> None:
    y = np.arange(60) % 3
    with pytest.raises(ValueError, match=r"shape \(60, 3\).*argmax"):
        load((X, np.eye(3)[y]))
    with pytest.raises(ValueError, match=r"float64.*y\.astype\(int\)"):
        load((X, y.astype(float)))


def test_labels_from_one_are_noted() -> None:
    data = load((X, np.arange(60) % 3 + 1))
    assert data.classes == 4
    assert "4 classes, of which 0 without an image; subtract 1" in data.notes[0]


def test_gaps_are_noted_and_many_are_refused() -> None:
    y = np.arange(60) % 3
    assert "2, 3, 4, 5, 6 and 1 more" in load((X, np.where(y == 2, 8, y))).notes[0]
    for ignored in (255, 9000):
        with pytest.raises(ValueError, match=rf"the label {ignored} but only 3 different ones"):
            load((X, np.where(y == 2, ignored, y)))


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (X.astype(np.float32), "x / 255 here"),
        (X / 127.5 - 1, r"float in \[0, 1\]\.$"),
        (np.zeros((60, 5, 4, 3), np.uint8), r"x\.transpose\(0, 3, 1, 2\) here"),
        (np.array(3), "a single number as x"),
    ],
)
def test_pixels_that_need_one_more_step(tmp_path: Path, x: np.ndarray, says: str) -> None:
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(60) % 3)
    with pytest.raises(ValueError, match=says):
        load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=x)
    with pytest.raises(ValueError, match=says):
        load(tmp_path / "b.npz", labelled=False)


def test_bool_labels_name_the_way_out() -> None:
    with pytest.raises(ValueError, match=r"bool.*y\.astype\(int\) here"):
        load((X, np.arange(60) % 2 == 0))
