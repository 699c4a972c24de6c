"""Validation: held-out examples, attacked from warm starts of their own."""

from __future__ import annotations

import pytest
import torch
from tests.helpers.nets import conv, toy
from torch import nn

from hauberk.batch import Batch
from hauberk.dataset import Data
from hauberk.problem import Loss, Objective, Problem
from hauberk.solvers import ProjectedGradient
from hauberk.training import validation
from hauberk.training.run import Run
from hauberk.training.stage import Stage
from hauberk.training.validation import Validation
from hauberk.training.warm_starts import REHEARSALS


class Moves(Objective):
    """Notes how each attack starts, and moves every example by half a radius more."""

    def __init__(self) -> None:
        self.starts: list[torch.Tensor] = []

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        if batch.warm_start:
            start = batch.warm_start.start(batch.x, 1.0)
            self.starts.append(start - batch.x)
            batch.warm_start.keep(start + 0.5, batch.x, 1.0)
        for t in batch.memory.values():
            t.add_(1)
        return Loss(batch.x.mean(), {"robust": torch.tensor(0.25)})


def measured(reuse: bool) -> tuple[Validation, Moves]:
    objective = Moves()
    stage = Stage("s", Problem(objective), ProjectedGradient(), 1, reuse=reuse)
    return Validation(stage, 0, toy(), Run()), objective


def test_held_out_examples_are_attacked_from_scratch_once_and_go_on_from_there() -> None:
    validation, objective = measured(reuse=True)
    row = validation.measure(conv(), 1, {})
    assert row["val_robust"] == 0.25 and set(row) == {"val_loss", "val_robust"}
    often = len(objective.starts)
    assert not objective.starts[0].any() and often == REHEARSALS
    validation.measure(conv(), 2, {})
    assert objective.starts[often].mean() == pytest.approx(0.5 * often)
    assert often > len(objective.starts) - often > 0


def test_without_reuse_there_is_one_attack_and_no_start() -> None:
    validation, objective = measured(reuse=False)
    validation.measure(conv(), 1, {})
    assert not objective.starts


def test_the_objective_s_memory_and_the_model_s_weights_stay_as_they_are() -> None:
    model, memory = conv(), {"weights": torch.zeros(2)}
    before = {name: t.clone() for name, t in model.state_dict().items()}
    measured(reuse=True)[0].measure(model, 1, memory)
    assert not memory["weights"].any() and not model.training
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


def test_a_restored_validation_goes_on_with_its_perturbations() -> None:
    whole, _ = measured(reuse=True)
    whole.measure(conv(), 1, {})
    resumed, objective = measured(reuse=True)
    resumed.load(whole.tree())
    resumed.measure(conv(), 2, {})
    assert objective.starts[0].mean() == pytest.approx(0.5 * REHEARSALS)
    assert len(objective.starts) < REHEARSALS


def test_few_examples_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "HELD_OUT", 7)
    assert len(measured(reuse=False)[0].examples) == 7
    data = toy()
    none = Data("none", data.train, data.train.first(0), data.test, 3)
    stage = Stage("s", Problem(Moves()), ProjectedGradient(), 1)
    assert Validation(stage, 0, none, Run()).measure(conv(), 1, {}) == {}
