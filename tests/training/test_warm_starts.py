"""Warm starts: handed on from stage to stage, exchanged by processes, refused if too big."""

from __future__ import annotations

import pytest
import torch

from hauberk.dataset import Examples
from hauberk.runtime import memory
from hauberk.runtime.processes import Group
from hauberk.training.warm_starts import WarmStarts

CPU = torch.device("cpu")


@pytest.fixture
def examples() -> Examples:
    return Examples(torch.rand(6, 1, 2, 2), torch.arange(6) % 2)


def test_without_reuse_nothing_is_kept(examples: Examples) -> None:
    starts = WarmStarts(examples, False, 2, CPU)
    assert not len(starts.perturbations) and starts.at(torch.arange(3)) is None


def test_what_is_kept_is_read_again(examples: Examples) -> None:
    starts = WarmStarts(examples, True, 1, CPU)
    start = starts.at(torch.tensor([4, 1]))
    assert start is not None
    x, moved = torch.zeros(2, 1, 2, 2), torch.full((2, 1, 2, 2), 0.25)
    start.keep(moved, x, 0.5)
    half = torch.full((2, 1, 2, 2), 0.5, dtype=torch.float16)
    assert torch.equal(starts.perturbations[[4, 1]], half)
    assert not starts.perturbations[[0, 2, 3, 5]].any()


@pytest.mark.parametrize("searches", [1, 2])
def test_the_stage_before_hands_on_as_many_searches(examples: Examples, searches: int) -> None:
    before = torch.ones(6, 1, 2, 2, dtype=torch.float16)
    taken = WarmStarts(examples, True, searches, CPU, before).perturbations
    assert len(taken) == 6 * searches
    assert bool(taken.any()) == (searches == 1)


def test_processes_exchange_their_perturbations(
    examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes, one after the other: what the other has written comes by a message."""
    batches = torch.tensor([[5, 0, 3], [2, 4, 1]])
    every = torch.arange(12.0).view(12, 1, 1, 1).expand(12, 1, 2, 2).half()
    starts = WarmStarts(examples, True, 2, CPU)
    mine = Group(1, 2)
    part = batches[:, mine.part(3)].reshape(-1)
    for own, whole in zip(starts.perturbations.chunk(2), every.chunk(2), strict=True):
        own[part] = whole[part]
    theirs = batches[:, Group(0, 2).part(3)].reshape(-1)
    sent = [[whole[theirs] for whole in every.chunk(2)], [whole[part] for whole in every.chunk(2)]]

    def broadcast_(self: Group, tensors: list[torch.Tensor], rank: int = 0) -> None:
        tensors[0].copy_(sent[rank].pop(0))

    monkeypatch.setattr(Group, "broadcast_", broadcast_)
    starts.exchange(batches, mine)
    assert torch.equal(starts.perturbations, every)


def test_what_does_not_fit_is_refused(examples: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free", lambda device: 40)
    with pytest.raises(ValueError, match=r"reuse keeps .* 48 bytes in all.*leave --reuse out"):
        WarmStarts(examples, True, 1, CPU)
