"""The averaged weights that a stage ends with."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hauberk.batch import Batch
from hauberk.problem import Loss, Objective, Problem
from hauberk.solvers.descent import Descent


def test_a_weight_that_was_put_to_zero_long_ago_is_zero_in_the_average() -> None:
    net = nn.Linear(3, 1, bias=False)
    descent = Descent(average=0.5)
    state = descent.init(net)
    for step in range(200):
        with torch.no_grad():
            net.weight.copy_(torch.tensor([[1.0, 1e-6, 0.25 if step < 100 else 0.0]]))
        descent.track(net, state)
    descent.settle(net, state)
    torch.testing.assert_close(net.weight[0, :2], torch.tensor([1.0, 1e-6]))
    assert net.weight[0, 2] == 0


def test_an_empty_tensor_has_an_average() -> None:
    net = nn.ParameterList([torch.empty(2, 0)])
    descent = Descent()
    state = descent.init(net)
    descent.track(net, state)
    descent.settle(net, state)
    assert net[0].shape == (2, 0)


def test_a_parameter_with_a_multiple_moves_as_many_times_as_far() -> None:
    class Line(Objective):
        def __call__(self, model: nn.Module, batch: Batch) -> Loss:
            return Loss(torch.stack([p.sum() for p in model.parameters()]).sum())

    net = nn.Linear(1, 1)
    before = [float(net.weight.detach()), float(net.bias.detach())]
    descent = Descent(lr=0.1, adaptive=False, average=0.0, multiples={"weight": 3.0})
    state = descent.init(net)
    x, y = torch.zeros(1, 1), torch.zeros(1, dtype=torch.long)
    batch = Batch(x, y, torch.Generator(), progress=0.5)
    descent.step(Problem(Line()), net, batch, state)
    moved = before[0] - float(net.weight.detach()), before[1] - float(net.bias.detach())
    assert moved[1] > 0
    assert moved[0] == pytest.approx(3 * moved[1], rel=1e-5)
