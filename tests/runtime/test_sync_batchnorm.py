"""Batch-norm over processes: with every row in one process it is torch's own layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hauberk.runtime.processes import ALONE, Group
from hauberk.runtime.sync_batchnorm import synchronised

LAYERS = {
    "convolutional": (nn.BatchNorm2d(3), (8, 3, 4, 4)),
    "linear": (nn.BatchNorm1d(3), (8, 3)),
    "cumulative": (nn.BatchNorm2d(3, momentum=None), (8, 3, 4, 4)),
    "no affine": (nn.BatchNorm2d(3, affine=False), (8, 3, 4, 4)),
    "no statistics": (nn.BatchNorm2d(3, track_running_stats=False), (8, 3, 4, 4)),
}


class Twice(Group):
    """Two processes that hold the same rows: every sum over them doubles."""

    def all_reduce_(self, tensors: list[torch.Tensor]) -> None:
        for t in tensors:
            t.mul_(2)


def passed(
    layer: nn.Module, x: torch.Tensor, group: Group
) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    """Output, gradient of a sum of squares over this process's rows, and statistics."""
    net = nn.Sequential(layer)
    before = {name: t.clone() for name, t in net.state_dict().items()}
    x = x.clone().requires_grad_()
    with synchronised(net, group):
        y = net(x)
    (grad,) = torch.autograd.grad((y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum(), x)
    after = {name: t.clone() for name, t in net.state_dict().items()}
    net.load_state_dict(before)
    return y.detach(), grad, after


@pytest.mark.parametrize("name", LAYERS)
def test_two_halves_are_one_batch(name: str) -> None:
    layer, shape = LAYERS[name]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3 + 1
    y, grad, _ = passed(layer, x, Twice(0, 2))
    alone_y, alone_grad, _ = passed(layer, x, ALONE)
    torch.testing.assert_close(y, alone_y)
    torch.testing.assert_close(grad, alone_grad, atol=1e-5, rtol=1e-4)
    _, _, statistics = passed(layer, x, Twice(0, 2))
    _, _, whole = passed(layer, torch.cat([x, x]), ALONE)
    for key, value in whole.items():
        torch.testing.assert_close(statistics[key], value, msg=key)


def test_eval_mode_sends_nothing() -> None:
    class Mute(Group):
        def all_reduce_(self, tensors: list[torch.Tensor]) -> None:
            raise AssertionError

    net = nn.Sequential(nn.BatchNorm1d(3)).eval()
    x = torch.randn(4, 3)
    with synchronised(net, Mute(0, 2)):
        assert torch.equal(net(x), net[0](x))


def test_afterwards_the_layers_are_their_own_again() -> None:
    net = nn.Sequential(nn.BatchNorm1d(3))
    with pytest.raises(KeyError), synchronised(net, Twice(0, 2)):
        assert "forward" in net[0].__dict__
        raise KeyError
    assert "forward" not in net[0].__dict__
    with synchronised(net, ALONE):
        assert "forward" not in net[0].__dict__
