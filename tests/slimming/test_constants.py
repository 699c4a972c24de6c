"""What a dead channel still says becomes a bias or a carrier; death spreads from layer to layer."""

from __future__ import annotations

import torch
from tests.helpers.slimmable import (
    chain,
    check_equal,
    example,
    inputs,
    randomised,
    widths,
)

from hauberk.models import build
from hauberk.slimming.slim import slim


def test_without_padding_constants_become_a_bias() -> None:
    for net in (chain(), chain(bias=True), chain(1, "reflect"), chain(1, "circular")):
        small = slim(net, example(net))
        check_equal(small, net)
        assert small[2].weight.shape == (4, 5, 3, 3)
        assert small[2].bias is not None


def test_at_a_zero_border_constants_become_one_carrier() -> None:
    net = chain(1)
    small = slim(net, example(net))
    check_equal(small, net)
    assert small[2].weight.shape == (4, 6, 3, 3)
    assert small[2].bias is None
    carriers = [w for w in small[0].weight if not w.any()]
    assert len(carriers) == 1
    assert slim(net, example(net), exact=False)[2].weight.shape == (4, 5, 3, 3)


def test_the_interior_is_right_without_a_carrier() -> None:
    net = chain(1, bias=True)[:4]  # the last convolution's outputs are the net's
    with torch.no_grad():
        small, x = slim(net, example(net), exact=False), inputs((1, 8, 8))
        want, have = net(x), small(x)
    assert small[2].weight.shape == (4, 5, 3, 3)
    assert (have - want)[..., 1:-1, 1:-1].abs().max() < 1e-5
    assert (have - want).abs().max() > 1e-2


def test_silence_needs_no_carrier() -> None:
    net = chain(1)
    with torch.no_grad():
        net[0].bias[:3] = -1.0
    small = slim(net, example(net))
    check_equal(small, net)
    assert small[2].weight.shape == (4, 5, 3, 3)


def test_a_channel_that_nobody_reads_goes() -> None:
    net = chain(1)
    with torch.no_grad():
        net[2].weight[:, 3:6] = 0  # these vary with the image
        net[0].bias[:3] = -1.0
    small = slim(net, example(net))
    check_equal(small, net)
    assert small[0].weight.shape == (2, 1, 3, 3)


def test_death_spreads_in_both_directions() -> None:
    net = randomised(build("lenet:2"))
    with torch.no_grad():
        net.fc2.weight[:, :100] = 0
        net.fc1.weight[100:, :49] = 0  # the first filter of conv2 is now read by none
        net.conv2.weight[1:, :2] = 0  # nor are the first two of conv1
        net.conv1.weight[2] = 0
        net.conv1.bias[2] = -1.0
    small = slim(net, example(net))
    check_equal(small, net)
    assert widths(small) == {
        "conv1.weight": (1, 1, 5, 5),
        "conv2.weight": (7, 1, 5, 5),
        "fc1.weight": (28, 343),
        "fc2.weight": (10, 28),
    }


def test_every_layer_keeps_a_channel_and_the_net_its_outputs() -> None:
    net = randomised(build("lenet:2"))
    with torch.no_grad():
        for p in net.parameters():
            if p.ndim > 1:
                p.zero_()
    for exact in (True, False):
        small = slim(net, example(net), exact=exact)
        assert torch.allclose(small(inputs((1, 28, 28))), net.fc2.bias.expand(8, -1))
        assert [len(p) for p in widths(small).values()] == [4, 4, 2, 2]
        assert [p[0] for p in widths(small).values()] == [1, 1, 1, 10]
