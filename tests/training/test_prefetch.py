"""Images that do not fit on the device: read ahead of the step, and the same run to the bit."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.nets import conv, toy

import hauberk as hb
from hauberk.data import load
from hauberk.dataset import Data, settled
from hauberk.evaluation import Evaluation
from hauberk.evaluation.shipped_file import evaluate_file, read
from hauberk.runtime import memory
from hauberk.runtime.memory import mapped
from hauberk.runtime.signals import Interrupted
from hauberk.training import prefetch
from hauberk.training.prefetch import Prefetch
from hauberk.training.run import Watcher

CPU, META = torch.device("cpu"), torch.device("meta")


def data(limit: int | None = None) -> Data:
    """The toy's examples, split by us, in memory or in a mapped file."""
    whole = toy().train
    return load((whole.x, whole.y), memory=limit)


def batches(count: int) -> list[torch.Tensor]:
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return list(order.split(30))


def readers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("hauberk-prefetch")]


@pytest.mark.parametrize("limit", [0, None])
@pytest.mark.parametrize("resident", [True, False, None])
@pytest.mark.parametrize("ahead", ["next", "never", "wrong"])
def test_the_images_are_the_same(limit: int | None, resident: bool | None, ahead: str) -> None:
    train = data(limit).train
    assert mapped(train.x) == (limit == 0)
    parts = batches(len(train))
    following = {"next": [*parts[1:], None], "never": [None] * len(parts), "wrong": parts}[ahead]
    with closing(Prefetch(train, CPU, resident)) as source:
        for index, then in zip(parts, following, strict=True):
            assert torch.equal(source.images(index, then), train.x[index].float().div_(255))
    assert not readers()


def test_floats_stay_as_they_are() -> None:
    train = replace(data().train, x=torch.rand(len(data().train), 1, 6, 6))
    with closing(Prefetch(train, CPU, False)) as source:
        index = torch.tensor([5, 3, 3])
        assert torch.equal(source.images(index), train.x[index])


def test_the_next_batch_is_read_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    there, copy = threading.Event(), prefetch._copy

    def noted(source: torch.Tensor, index: torch.Tensor, to: torch.Tensor) -> None:
        copy(source, index, to)
        seen.extend(index.tolist())
        if {3, 4, 5} <= set(seen):
            there.set()

    monkeypatch.setattr(prefetch, "_copy", noted)
    with closing(Prefetch(data().train, CPU, False)) as source:
        source.images(torch.tensor([0, 1]), torch.tensor([3, 4, 5]))
        assert there.wait(10)
        source.images(torch.tensor([3, 4, 5]))
    assert sorted(seen) == [0, 1, 3, 4, 5]  # and only once


def broken(*_: Any) -> None:
    raise OSError("The disk is gone.")


def test_a_reader_s_error_is_the_caller_s(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(OSError, match="disk is gone"),
        closing(Prefetch(data().train, CPU, False)) as source,
    ):
        first = source.images(torch.tensor([0, 1]), None)
        assert len(first) == 2
        monkeypatch.setattr(prefetch, "_copy", broken)
        source.images(torch.tensor([2, 3]), torch.tensor([4, 5]))
    assert not readers()


def test_what_takes_half_of_the_device_is_left_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    train = data().train
    monkeypatch.setattr(memory, "free", lambda _: 2 * train.x.nbytes)
    assert settled(train, META).x.is_meta
    monkeypatch.setattr(memory, "free", lambda _: 2 * train.x.nbytes - 1)
    assert settled(train, META).x is train.x and settled(train, META).y.is_meta
    assert settled(train, CPU).x is train.x


def test_a_file_is_not_taken_into_memory() -> None:
    train = data(0).train
    assert settled(train, CPU).x is train.x and not mapped(train.images(slice(0, 3)))


METHOD = hb.ATMC(keep=0.3, bits=2, dense_epochs=1, codebook_epochs=1).with_(
    epochs=2, batch_size=32, reuse=True, shift=1, flip=True
)


class Stops(Watcher):
    """Sends SIGTERM after so many steps."""

    def __init__(self, after: int) -> None:
        self.left = after

    def step(self, metrics: Mapping[str, float] | None) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)


def made(out: Path, given: Data, **run: Any) -> bytes:
    small = hb.compress(
        conv(), given, method=METHOD, threat=hb.Linf(0.1), out=out, run=hb.Run(device=CPU, **run)
    )
    assert small.path is not None
    return small.path.read_bytes()


@pytest.mark.slow
def test_a_streamed_run_gives_the_same_file(tmp_path: Path) -> None:
    resident = made(tmp_path / "a", data())
    assert made(tmp_path / "b", data(0)) == resident and not readers()
    with pytest.raises(Interrupted):
        made(tmp_path / "c", data(0), watcher=Stops(10))
    assert not readers()
    assert made(tmp_path / "c", data(), resume=True) == resident


def test_a_failing_disk_ends_the_run_with_its_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaks(Watcher):
        def step(self, metrics: Mapping[str, float] | None) -> None:
            monkeypatch.setattr(prefetch, "_copy", broken)

    with pytest.raises(OSError, match="disk is gone"):
        made(tmp_path, data(0), watcher=Breaks())
    assert not readers()


@pytest.mark.slow
def test_the_evaluation_streams_too(tmp_path: Path) -> None:
    made(tmp_path, data())
    evaluation = Evaluation(
        hb.Linf(0.1), "linf:0.1", {"pgd": hb.PGD(3, track=True)}, limit=20, timing=False
    )
    rows = [
        evaluate_file(
            read(tmp_path / "model.hbk", conv()), given, evaluation, source=conv(), device=CPU
        ).json()
        for given in (data(), data(0))
    ]
    assert rows[0] == rows[1]


def test_reuse_that_does_not_fit_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free", lambda *_: 1000)
    with pytest.raises(ValueError, match=r"reuse keeps.*1 kB free; leave --reuse out"):
        made(tmp_path, data(0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_what_is_streamed_is_the_same() -> None:
    train, cuda = data(0).train, torch.device("cuda")
    parts = batches(len(train))
    with (
        closing(Prefetch(train, cuda, False)) as streamed,
        closing(Prefetch(train, cuda, True)) as resident,
    ):
        for index, then in zip(parts, [*parts[1:], None], strict=True):
            x = streamed.images(index, then)
            assert x.device.type == "cuda"
            assert torch.equal(x, resident.images(index.to(resident.index_device)))
    served = settled(train, cuda, False)
    assert torch.equal(served.images(parts[0].cuda()), settled(train, cuda, True).images(parts[0]))
