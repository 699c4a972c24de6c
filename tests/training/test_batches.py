"""Batches: each epoch is a shuffle, each process has its rows, and any step can be the first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
import torch
from tests.helpers.nets import toy

from hauberk.batch import Batch
from hauberk.objectives import Natural
from hauberk.problem import Problem
from hauberk.runtime.processes import Group
from hauberk.solvers import ProjectedGradient
from hauberk.training.augment import Augmentation
from hauberk.training.batches import Batches
from hauberk.training.run import Run
from hauberk.training.stage import Stage

MOVED = Augmentation(shift=1, flip=True)


def batches(size: int = 100, epochs: int = 2, number: int = 0, **run: object) -> Batches:
    stage = Stage("s", Problem(Natural()), ProjectedGradient(), epochs, size, MOVED)
    return Batches(stage, number, toy(), Run(device=torch.device("cpu"), **run))


def taken(source: Batches, count: int | None = None) -> list[Batch]:
    found: list[Batch] = []
    iterator: Iterator[Batch] = iter(source)
    while count is None or len(found) < count:
        batch = next(iterator, None)
        if batch is None:
            break
        found.append(batch)
    return found


def test_epochs_are_whole_batches_in_an_order_of_their_own() -> None:
    source = batches()
    assert (source.size, source.per_epoch, source.total) == (100, 2, 4)
    found = taken(source)
    assert [batch.step for batch in found] == [0, 1, 2, 3]
    assert [batch.progress for batch in found] == [0, 0.25, 0.5, 0.75]
    assert source.step == 4 and source.epoch == 2 and source.epoch_ended
    assert not torch.equal(found[0].y, found[2].y)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_restored_iterator_goes_on_with_the_same_bits(steps: int) -> None:
    whole = taken(batches())
    first, second = batches(), batches()
    taken(first, steps)
    second.load(first.tree())
    rest = taken(second)
    assert len(rest) == 4 - steps
    for got, wanted in zip(rest, whole[steps:], strict=True):
        assert torch.equal(got.x, wanted.x) and torch.equal(got.y, wanted.y)
        assert torch.equal(torch.rand(3, generator=got.rng), torch.rand(3, generator=wanted.rng))


def test_seed_and_stage_change_the_order() -> None:
    first = [taken(batches(**more))[0].y for more in ({}, {"number": 1}, {"seed": 1})]
    assert not torch.equal(first[0], first[1]) and not torch.equal(first[0], first[2])


@pytest.mark.parametrize("size", [2, 3])
def test_the_processes_rows_are_one_batch(size: int) -> None:
    whole = taken(batches())
    parts = [batches(group=Group(rank, size)) for rank in range(size)]
    assert sum(part.fraction for part in parts) == pytest.approx(1)
    for steps in zip(whole, *map(taken, parts), strict=True):
        assert torch.equal(torch.cat([batch.x for batch in steps[1:]]), steps[0].x)
        assert torch.equal(torch.cat([batch.y for batch in steps[1:]]), steps[0].y)


def test_a_batch_larger_than_the_data_is_all_of_them() -> None:
    source = batches(size=1000, epochs=3)
    assert (source.size, source.per_epoch, source.total) == (256, 1, 3)
    assert all(len(batch.y) == 256 for batch in taken(source))


def test_more_processes_than_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="batch of 2 cannot be shared by 3 processes"):
        batches(size=2, group=Group(0, 3))


def test_closing_ends_the_iterator_s_threads() -> None:
    with closing(batches()) as source:
        taken(source, 1)
    assert source.prefetch._next is None
