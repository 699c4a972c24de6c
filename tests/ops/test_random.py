"""Randomness is a function of its place in the run."""

from __future__ import annotations

import torch

from hauberk.ops.random import generator, normal_like, permutation, seed_layers, uniform_like


def test_the_same_place_gives_the_same_numbers() -> None:
    x = torch.zeros(3, 4, dtype=torch.float64)
    for draw in (uniform_like, normal_like):
        a, b, c = (draw(x, generator(*place)) for place in ((0, "s", 1), (0, "s", 1), (0, "s", 2)))
        assert torch.equal(a, b) and not torch.equal(a, c)
        assert (a.shape, a.dtype) == (x.shape, x.dtype)
    assert torch.equal(permutation(9, generator(1)), permutation(9, generator(1)))
    assert sorted(permutation(9, generator(1)).tolist()) == list(range(9))


def test_layers_draw_what_they_draw_after_manual_seed_and_nothing_is_queued() -> None:
    queued = len(torch.cuda._queued_calls)
    seed_layers(7, torch.device("cpu"))
    drawn = torch.rand(3)
    assert len(torch.cuda._queued_calls) == queued
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(3))
