"""A slim net computes what the masked one does, and really is smaller."""

from __future__ import annotations

import pytest
import torch
from tests.helpers.slimmable import (
    Branches,
    Residual,
    chain,
    check_equal,
    example,
    killed,
    randomised,
    size,
    widths,
)
from torch import nn

from hauberk.models import build
from hauberk.slimming.slim import slim

FAMILY_SPECS = (
    *("lenet:4", "caffe-lenet", "digits-cnn"),
    *("vgg16:2", "resnet18:2", "resnet34:1", "wrn:10,1"),
)


@pytest.mark.parametrize("spec", FAMILY_SPECS)
def test_slim_equals_masked(spec: str) -> None:
    net = killed(randomised(build(spec)))
    before = {name: t.clone() for name, t in net.state_dict().items()}
    small = slim(net, example(net))
    check_equal(small, net)
    assert size(small) < 0.6 * size(net)
    assert not small.training
    assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "narrow"),
    [
        ("lenet:8", "lenet:1"),
        ("vgg16:4", "vgg16:2"),
        ("resnet18:4", "resnet18:1"),
        ("resnet34:2", "resnet34:1"),
        ("wrn:10,4", "wrn:10,2"),
    ],
)
def test_a_carved_net_has_the_narrow_nets_shapes(spec: str, narrow: str) -> None:
    net, want = randomised(build(spec)), widths(build(narrow))
    with torch.no_grad():
        for name, p in net.named_parameters():
            if name in want:
                p[want[name][0] :] = 0
    assert widths(slim(net, example(net), exact=False)) == want
    exact = slim(net, example(net))
    check_equal(exact, net)
    for name, shape in widths(exact).items():  # at most a few carriers a group
        assert want[name][0] <= shape[0] <= min(want[name][0] + 4, len(net.get_parameter(name)))


def test_layers_have_the_expected_sizes() -> None:
    lenet, demo = randomised(build("caffe-lenet")), randomised(build("digits-cnn"))
    with torch.no_grad():
        for net in (lenet, demo):
            net.conv1.weight[:5] = 0
            net.conv2.weight[:7] = 0
            net.fc1.weight[:9] = 0
        demo.conv1.bias[:5] = torch.tensor([0.5, 0.25, -1, -1, 1])  # three to merge, two silent
    small = slim(lenet, example(lenet))
    check_equal(small, lenet)
    assert widths(small) == {
        "conv1.weight": (15, 1, 5, 5),
        "conv2.weight": (43, 15, 5, 5),
        "fc1.weight": (491, 43 * 16),
        "fc2.weight": (10, 491),
    }
    small = slim(demo, example(demo))
    check_equal(small, demo)
    assert widths(small) == {
        "conv1.weight": (12, 1, 3, 3),
        "conv2.weight": (57, 12, 3, 3),
        "fc1.weight": (119, 57 * 16),
        "fc2.weight": (10, 119),
    }


@pytest.mark.parametrize("cls", [Residual, Branches])
def test_a_users_net(cls: type[nn.Module]) -> None:
    torch.manual_seed(0)
    net = killed(randomised(cls()))
    small = slim(net, example(net))
    check_equal(small, net)
    assert size(small) < 0.8 * size(net)


def test_the_channels_of_a_residual_sum_die_together() -> None:
    net = randomised(Residual())
    with torch.no_grad():
        net.stem.weight[:3] = 0
        net.outer.weight[1:4] = 0  # 1 and 2 are dead in both
        net.outer.bias.fill_(-9.0)
        net.norm.bias[:4] = -9.0
        net.inner_norm.weight[5] = 0
        net.hidden.weight[:4] = 0
    small = slim(net, example(net))
    check_equal(small, net)
    assert widths(small) == {
        "stem.weight": (6, 1, 3, 3),
        "inner.weight": (5, 6, 3, 3),
        "outer.weight": (6, 5, 1, 1),
        "hidden.weight": (16, 6 * 16),
        "head.weight": (5, 16),
    }
    assert (small.norm.num_features, len(small.norm.running_var)) == (6, 6)


def test_concatenation_and_a_depthwise_convolution() -> None:
    net = randomised(Branches())
    with torch.no_grad():
        net.left.weight[:3] = 0
        net.right.weight[:2] = 0
        net.depthwise.weight[13] = 0
        net.point.weight[:5] = 0  # read by a grouped convolution: it stays
    small = slim(net, example(net))
    check_equal(small, net)
    assert widths(small) == {
        "left.weight": (5, 1, 3, 3),
        "right.weight": (3, 1, 3, 3),
        "depthwise.weight": (8, 1, 3, 3),
        "point.weight": (12, 8, 1, 1),
        "grouped.weight": (8, 6, 3, 3),
        "head.weight": (5, 8),
    }
    assert small.depthwise.groups == small.depthwise.in_channels == 8


@pytest.mark.parametrize("exact", [True, False])
def test_nothing_dead_nothing_changed(exact: bool) -> None:
    for net in (randomised(build("resnet18:1")), randomised(Branches())):
        small = slim(net, example(net), exact=exact).state_dict()
        assert small.keys() == net.state_dict().keys()
        assert all(torch.equal(small[n], t) for n, t in net.state_dict().items())


def test_what_may_be_trained_stays_so() -> None:
    net = chain()
    net[2].weight.requires_grad_(False)
    small = slim(net, example(net))
    flags = {name: p.requires_grad for name, p in small.named_parameters()}
    assert [name for name, flag in flags.items() if not flag] == ["2.weight"]
    with torch.no_grad():
        assert slim(net, example(net))[2].weight.shape == (4, 5, 3, 3)
