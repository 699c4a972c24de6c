"""Rounded activations: eight bits of a range, a gradient that does not see them, and no trace."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hauberk.attack import frozen, input_gradient
from hauberk.parametrize import Rounded, quantise, unquantise


def nets() -> list[tuple[nn.Module, tuple[int, ...]]]:
    torch.manual_seed(0)
    return [
        (nn.Sequential(nn.Conv1d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)), (3, 8)),
        (
            nn.Sequential(
                nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(32, 4)
            ),
            (4, 4, 4),
        ),
        (nn.Linear(5, 3), (5,)),
    ]


def images(shape: tuple[int, ...], count: int = 64) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(1))


def taken(net: nn.Module, x: Tensor) -> list[Tensor]:
    """What the layers multiply."""
    seen: list[Tensor] = []
    parts = [m for m in net.modules() if isinstance(m, Rounded)]
    handles = [m.register_forward_hook(lambda m, i, o: seen.append(o.detach())) for m in parts]
    net(x)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("number", range(3))
def test_at_most_256_levels_and_no_trace_afterwards(number: int) -> None:
    net, shape = nets()[number]
    net.train(number == 1)
    x = images(shape)
    before = {n: t.clone() for n, t in net.state_dict().items()}
    modes = [m.training for m in net.modules()]
    quantise(net, x)
    assert [m.training for m in net.modules() if not isinstance(m, Rounded)] == modes
    net.eval()
    for values in taken(net, x):
        assert 100 < len(values.unique()) <= 256 and (values == 0).any() | (values > 0).all()
    rounded = net(x)
    found = unquantise(net)
    assert all(low <= 0 < high for low, high in found.values())
    after = net.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[n], before[n]) for n in before)
    assert not any(m._forward_pre_hooks for m in net.modules())
    plain = net(x)
    assert 0 < (rounded - plain).abs().max() < 0.05 * plain.abs().max()


def test_the_gradient_is_that_of_the_identity_even_beyond_the_range() -> None:
    net = quantise(nn.Linear(5, 3), images((5,)))
    assert isinstance(net, nn.Linear)
    net.eval()
    x = images((5,)) * 4 - 2
    _, grad = input_gradient(lambda x: net(x).sum(1), x)
    torch.testing.assert_close(grad, net.weight.detach().sum(0).expand_as(grad))
    assert net(x).abs().max() < nn.functional.linear(x, net.weight, net.bias).abs().max()


def test_the_range_follows_in_training_and_rests_under_attack() -> None:
    net = quantise(nn.Linear(5, 3), images((5,)))
    part = next(m for m in net.modules() if isinstance(m, Rounded))
    start = float(part.high)
    net.train()
    with frozen(net):
        net(9 * images((5,)))
    assert float(part.high) == start
    net(9 * images((5,)))
    once = float(part.high)
    assert start < once < 2 * start
    for _ in range(200):
        net(9 * images((5,)) - 3)
    assert 5.5 < float(part.high) < 6.5 and -3.1 < float(part.low) < -2.5


def test_dead_inputs_stay_zero() -> None:
    net = quantise(nn.Linear(5, 3), torch.zeros(4, 5))
    assert torch.equal(net(torch.zeros(2, 5)), net.bias.expand(2, 3))
    assert unquantise(net) == {"": (0.0, 0.0)}
