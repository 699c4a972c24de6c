"""The averaged weights that a stage ends with."""

from __future__ import annotations

import torch
from torch import nn

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
