"""Checkpoints of another hand: each value that no run writes is a one-line error."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save as to_bytes
from tests.helpers.nets import mlp, toy

import hauberk as hb
from hauberk.runtime.signals import Interrupted
from hauberk.training import checkpoint
from hauberk.training.run import Watcher

NAME = "checkpoint.safetensors"
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    1 << 70,
    1e308,
    math.nan,
    "x",
    "\x1b[31m",
    [],
    [[]],
    {},
    {"a": torch.zeros(2)},
    torch.zeros(3, 3, 3),
    torch.zeros((), dtype=torch.complex64),
    torch.zeros(0, dtype=torch.int8),
)
JSON = b'0123456789"{}[],:eE.-\\x'
METHODS: Mapping[str, hb.Method] = {
    "atmc": hb.ATMC(keep=0.3, bits=2, codebook_epochs=1),
    "al0": hb.AL0(keep=0.3),
}


class Stops(Watcher):
    """Ends a run by a signal after some steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self, metrics: Mapping[str, float] | None) -> None:
        self.left -= 1
        if not self.left:
            signal.raise_signal(signal.SIGINT)


def run(name: str, folder: Path, steps: int, resume: bool) -> None:
    method = METHODS[name].with_(epochs=2, batch_size=16, reuse=True, attack_steps=1)
    hb.compress(
        mlp(),
        toy(48),
        method=method,
        threat=hb.Linf(0.1),
        out=folder,
        pretrained=True,
        run=hb.Run(resume=resume, watcher=Stops(steps)),
    )


@pytest.fixture(scope="module", params=list(METHODS))
def begun(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run that was stopped in its fifth step, and its checkpoint."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.raises(Interrupted):
        run(request.param, folder, 5, resume=False)
    return request.param, folder, (folder / NAME).read_bytes()


def goes_on(begun: Any, content: bytes) -> str:
    """The error of the resumed run; empty if it went on."""
    name, folder, _ = begun
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / NAME).write_bytes(content)
    try:
        run(name, folder, 2, resume=True)
    except Interrupted:
        return ""
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) < 500
        return str(error)
    return ""


def places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every value in a tree."""
    yield at
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from places(value, (*at, key))


def changed(tree: Any, at: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    """A copy of a tree with one other value."""
    if not at:
        return change(tree)
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[at[0]] = changed(tree[at[0]], at[1:], change)
    return copy


def lost(tree: Any, rng: random.Random) -> Any:
    """A dict or list without one of its values."""
    if isinstance(tree, dict) and tree:
        return {k: v for k, v in tree.items() if k != rng.choice(list(tree))}
    return tree[1:] if isinstance(tree, list) else None


def test_an_untouched_checkpoint_goes_on(begun: Any) -> None:
    assert goes_on(begun, begun[2]) == ""


@pytest.mark.slow
def test_every_value_is_checked(begun: Any, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(begun[2])
    tree, rng = checkpoint.load(tmp_path / NAME), random.Random(0)
    assert tree is not None
    refused, count = 0, 0
    for at in [*places(tree)][1:]:
        for change in (lambda _: rng.choice(ODD), lambda value: lost(value, rng)):
            checkpoint.save(tmp_path / NAME, changed(tree, at, change))
            refused += bool(goes_on(begun, (tmp_path / NAME).read_bytes()))
            count += 1
    assert refused > 0.6 * count  # the settings of an optimiser are those of now, whatever it says


@pytest.mark.parametrize(
    "skeleton",
    [
        "[1]",
        "1",
        "{}",
        "[" * 90_000 + "]" * 90_000,
        '{"\\u0000pairs":' * 5_000 + "1" + "}" * 5_000,
        json.dumps({"\0pairs": [["step", 1]]}),
        json.dumps({"\0pairs": [[["step"], 1]]}),
        json.dumps({"\0pairs": 7}),
        json.dumps({"\0tensor": "1"}),
        json.dumps({"\0tensor": ["0"]}),
        json.dumps({"\0pairs": [["a", {"\0tensor": "0"}], ["b", {"\0tensor": "0"}]]}),
        '{"\\u0000pairs": [["identity", ' + "9" * 5000 + "]]}",
        "NaN",
        "{",
    ],
)
def test_skeletons_by_hand(begun: Any, skeleton: str) -> None:
    content = to_bytes({"0": torch.ones(1)}, metadata={"tree": skeleton})
    assert "checkpoint" in goes_on(begun, content)


def test_what_is_no_file_is_not_read(begun: Any) -> None:
    name, folder, content = begun
    (folder / NAME).unlink()
    os.mkfifo(folder / NAME)
    with pytest.raises(OSError, match="is not a file; give a checkpoint"):
        run(name, folder, 2, resume=True)
    (folder / NAME).unlink()
    for start in (b"", b"\xff" * 8, b"\x00" * 8, (1 << 62).to_bytes(8, "little") + content[8:]):
        assert "no readable checkpoint" in goes_on(begun, start)


@pytest.mark.slow
def test_mutated_bytes(begun: Any) -> None:
    content, rng = begun[2], random.Random(0)
    head, refused = 8 + int.from_bytes(content[:8], "little"), 0
    for count in range(150):
        mutated = bytearray(content)
        for _ in range(rng.choice((1, 2, 5))):
            at = rng.randrange(head if count % 3 else len(mutated))
            mutated[at] = rng.choice(JSON) if count % 2 else rng.randrange(256)
        refused += bool(goes_on(begun, bytes(mutated)))
    assert refused > 50, "two thirds change the header, where nearly every byte counts"
