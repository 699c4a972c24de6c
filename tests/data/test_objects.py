"""A user's own objects: Datasets, DataLoaders, arrays, functions, and their errors."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import hauberk as hb
from hauberk.cli import main
from hauberk.data import load

X = torch.randint(0, 256, (60, 1, 5, 4), dtype=torch.uint8, generator=torch.manual_seed(0))
Y = torch.arange(60) % 3


class Own(Dataset[Any]):
    """Gives whatever ``make`` makes of an example's number."""

    def __init__(self, make: Any, count: int = 60) -> None:
        self.make, self.count = make, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> Any:
        return self.make(i)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(zip(X, Y, strict=True))


def every(data: hb.Data) -> dict[bytes, int]:
    """Label by image, over all splits."""
    return {
        x.numpy().tobytes(): int(y)
        for part in (data.train, data.validation, data.test)
        for x, y in zip(part.x, part.y, strict=True)
    }


WHOLE = {x.numpy().tobytes(): int(y) for x, y in zip(X, Y, strict=True)}
SAME = {
    "arrays": lambda: (X.numpy(), Y.numpy()),
    "tensors": lambda: (X, Y),
    "tensor dataset": lambda: TensorDataset(X, Y),
    "gray without a channel": lambda: Own(lambda i: (X[i, 0], int(Y[i]))),
    "numpy": lambda: Own(lambda i: (X[i].numpy(), np.int64(Y[i]))),
    "pillow": lambda: Own(lambda i: (Image.fromarray(X[i, 0].numpy()), int(Y[i]))),
    "mapping": lambda: Own(lambda i: {"image": X[i], "label": Y[i]}),
    "list": lambda: [(X[i], i % 3) for i in range(60)],
    "stream": Stream,
    "loader": lambda: DataLoader(TensorDataset(X, Y), batch_size=7),
    "shuffled": lambda: DataLoader(TensorDataset(X, Y), batch_size=7, shuffle=True),
    "loader of mappings": lambda: DataLoader(
        Own(lambda i: {"image": X[i], "label": Y[i]}), batch_size=9
    ),
    "loader without batches": lambda: DataLoader(TensorDataset(X, Y), batch_size=None),
    "function": lambda: lambda: (X, Y),
}


@pytest.mark.parametrize("kind", SAME)
def test_every_form_gives_the_same_examples(kind: str) -> None:
    data = load(SAME[kind]())
    assert data.shape == (1, 5, 4) and data.train.x.dtype == torch.uint8 and data.classes == 3
    assert every(data) == WHOLE
    again = load(SAME[kind]())
    assert torch.equal(again.train.x, data.train.x), "a resumed run must see the same data"


def test_a_shuffling_loader_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    load(SAME["shuffled"]())
    assert torch.equal(torch.rand(3), want)


def test_splits() -> None:
    whole, some, few = TensorDataset(X, Y), (X[:12], Y[:12]), DataLoader(TensorDataset(X, Y))
    for source, sizes in (
        ((whole, some), [54, 6, 12]),
        ((whole, some, few), [60, 12, 60]),
        ({"train": whole, "test": some}, [54, 6, 12]),
        ({"train": whole, "val": some}, [54, 12, 6]),
    ):
        data = load(source)
        assert [len(data.train), len(data.validation), len(data.test)] == sizes
    data = hb.Data("d", data.train, data.validation, data.test, 3)
    assert load(data) is data


def test_floats_and_names() -> None:
    words = ("bee", "ant", "cow")
    data = load(Own(lambda i: (X[i].double() / 255, words[i % 3])))
    assert data.train.x.dtype == torch.float32 and data.labels == ("ant", "bee", "cow")
    for x, y in zip(data.test.x, data.test.y, strict=True):
        row = int(((X / 255 - x).abs() < 1e-6).flatten(1).all(1).nonzero())
        assert words[row % 3] == data.labels[y]


def _fails(i: int) -> Any:
    if i in (3, 5):
        raise OSError(f"disk\non fire {i}")
    return X[i], Y[i]


def test_what_cannot_be_had_stops_or_is_left_out() -> None:
    with pytest.raises(ValueError, match=r"train split.*example 3 \(OSError: disk on fire 3\)"):
        load(Own(_fails))
    data = load(Own(_fails), on_error="skip")
    assert len(every(data)) == 58 and "2 images" in data.notes[0]
    with pytest.raises(ValueError, match="disk on fire"):
        load(DataLoader(Own(_fails), batch_size=4), on_error="skip")


BAD = {
    "no label": (Own(lambda i: X[i]), "give \\(image, label\\)"),
    "three": (Own(lambda i: (X[i], Y[i], 1)), "give \\(image, label\\)"),
    "keys": (Own(lambda i: {"picture": X[i], "label": 1}), "'picture'"),
    "image": (Own(lambda i: ("a", 1)), "an image of type str"),
    "label": (Own(lambda i: (X[i], [1, 2])), "a label of type list"),
    "fraction": (Own(lambda i: (X[i], 0.5)), "a label of type float"),
    "both": (Own(lambda i: (X[i], "a" if i else 1)), "names and numbers"),
    "normalised": (Own(lambda i: (X[i] / 128 - 1, Y[i])), r"outside \[0, 1\]"),
    "sizes": (Own(lambda i: (X[i, :, : 5 - i % 2], Y[i])), "different shapes"),
    "types": (Own(lambda i: (X[i] if i % 2 else X[i] / 255, Y[i])), "of type"),
    "one class": (Own(lambda i: (X[i], 0)), "at least two classes"),
    "empty": (Own(_fails, 0), "is empty"),
    "empty test": ((TensorDataset(X, Y), Own(_fails, 0)), "test split.*is empty"),
    "splits": ({"train": (X, Y), "extra": (X, Y)}, "extra"),
    "no split": ({}, "are empty"),
    "four": (((X, Y),) * 4, "a tuple of 4"),
    "number": (7, "of type int"),
    "length": ((X, Y[:3]), "60 images and 3 labels"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_objects_are_one_sentence(case: str) -> None:
    source, says = BAD[case]
    with pytest.raises(ValueError, match=says) as caught:
        load(source)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the current directory, as a user has it."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{name}.py").write_text(
        textwrap.dedent("""
        import torch, other_beside
        x = torch.arange(60, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
        y = torch.arange(60) % 3
        def loader():
            import later_beside
            return x, y
        def broken():
            raise RuntimeError("the disk\\nis gone")
        pair = (x, y), (x[:9], y[:9])
        """)
    )
    (tmp_path / "other_beside.py").write_text("")
    (tmp_path / "later_beside.py").write_text("")
    (tmp_path / f"{name}_bad.py").write_text("import nothing_of_that_name")
    return name


def test_a_function_by_its_place(module: str) -> None:
    before = list(sys.path)
    assert len(load(f"{module}:loader").train) == 48
    assert len(load(f"{module}:pair").test) == 9
    assert sys.path == before
    for place, says in (
        (f"{module}_bad:loader", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        (f"{module}:nothing", "has no 'nothing'"),
        (f"{module}:broken", "RuntimeError: the disk is gone"),
        ("no_such_module_at_all:f", "No module named 'no_such_module_at_all'"),
    ):
        with pytest.raises(ValueError, match=says) as caught:
            load(place)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_command_takes_a_function(
    module: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["train", "--model", "digits-cnn", "--threat", "linf:0.1", "--epochs", "1",
             "--attack-steps", "1", "--attack", "fgsm", "--limit", "3"]  # fmt: skip
    with pytest.raises(SystemExit) as stop:
        main.main([*words, "--data", f"{module}_bad:loader"])
    assert stop.value.code == 2 and "nothing_of_that_name" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main.main([*words, "--data", f"{module}:loader", "--out", str(tmp_path / "out")])
    assert stop.value.code == 0


@pytest.mark.slow
def test_compress_takes_a_dataset_as_it_is() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(20, 3))

    def images(i: int) -> tuple[Tensor, int]:
        return X[i], int(Y[i])

    made = hb.compress(
        net,
        Own(images),
        method=hb.AP(keep=0.5).with_(epochs=1),
        threat=hb.Linf(0.01),
        pretrained=True,
    )
    assert made.artifact.about.classes == 3 and made.artifact.about.input_shape == (1, 5, 4)


def test_messages_name_arrays_and_not_their_tuple() -> None:
    assert load((X, Y)).name == "arrays"
    assert load(((X, Y), (X, Y))).name == "arrays"
    assert load({"train": TensorDataset(X, Y)}).name == ("TensorDataset")
