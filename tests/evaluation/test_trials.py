"""The record behind the headline."""

from __future__ import annotations

import json

import torch

from hauberk.evaluation import Taken, Trials


def test_an_example_is_lost_once_and_to_the_first() -> None:
    trials = Trials(torch.tensor([True, True, True, False]))
    assert trials.add("pgd", torch.tensor([False, True, True, False])) == 1
    assert trials.add("square", torch.tensor([False, False])) == 1
    assert trials.robust.tolist() == [False, False, True, False]
    assert trials.taken["pgd"] == Taken(3, 1, (0,)) and trials.taken["square"] == Taken(1, 1, (1,))


def test_what_was_not_tried_is_not_lost_and_a_second_trial_adds() -> None:
    trials = Trials(torch.ones(4, dtype=torch.bool))
    none = torch.zeros(4, dtype=torch.bool)
    assert trials.add("student", none, tried=torch.tensor([True, False, False, False])) == 1
    assert trials.add("student", torch.tensor([True, True, False, True])) == 1
    assert trials.taken["student"] == Taken(4, 2, (0, 2))
    taken = trials.taken["student"]
    assert Taken.from_json(json.loads(json.dumps(taken.json()))) == taken


def test_much_is_beyond_chance() -> None:
    assert Taken(50, 50).much and Taken(10, 5).much
    assert not Taken(0, 0).much and not Taken(200, 40).much and not Taken(5, 2).much
