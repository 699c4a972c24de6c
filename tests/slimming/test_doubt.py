"""What cannot be cut without doubt stays, and what cannot be traced gets one sentence."""

from __future__ import annotations

import pytest
import torch
from tests.helpers.slimmable import (
    Small,
    check_equal,
    example,
    inputs,
    killed,
    randomised,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

import hauberk as hb
from hauberk.models import build
from hauberk.slimming.constants import constants
from hauberk.slimming.slim import slim


class AddsInput(Small):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(x + self.first(x)).mean((2, 3)))


class UsesTwice(Small):
    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x))
        return self.head(self.second(F.relu(x)).mean((2, 3)))


class GivesFeatures(Small):
    def forward(self, x: Tensor) -> Tensor:
        features = self.first(x).mean((2, 3))
        return torch.cat([features, self.head(features)], 1)


def shuffle(x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    pairs = x.view(batch, 2, channels // 2, height, width).transpose(1, 2)
    return pairs.reshape(batch, channels, height, width)


def tied() -> nn.Module:
    net = Small()
    net.first = nn.Sequential(nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 1, bias=False))
    net.second = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.Conv2d(8, 8, 1))
    net.second[0].weight = net.first[1].weight
    return net


@pytest.mark.parametrize(
    "net",
    [
        AddsInput(),
        UsesTwice(),
        GivesFeatures(),
        tied(),
        Small(shuffle),
        Small(lambda x: x.softmax(1)),
        Small(lambda x: F.normalize(x, dim=1)),
        Small(nn.GroupNorm(2, 8)),
        Small(nn.PReLU(8)),
        Small(nn.ConvTranspose2d(8, 8, 2, groups=2)),
    ],
    ids=[
        "adds",
        "twice",
        "features",
        "tied",
        "shuffle",
        "softmax",
        "normalise",
        "group",
        "prelu",
        "transposed",
    ],
)
def test_what_cannot_be_cut_without_doubt_stays(net: nn.Module) -> None:
    killed(randomised(net))
    small = slim(net, example(net))
    check_equal(small, net)
    first = net.first if isinstance(net.first, nn.Conv2d) else net.first[1]
    kept = small.first if isinstance(net.first, nn.Conv2d) else small.first[1]
    assert kept.weight.shape == first.weight.shape


def test_the_probe_vetoes_what_loses_not_a_number() -> None:
    net = Small(torch.nan_to_num)
    found = constants(net, inputs((1, 8, 8), 1), exact=True)
    assert found[net.second].isnan().all()
    assert slim(randomised(net), example(net)).second.weight.shape == (8, 8, 3, 3)


class Hidden(Small):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.from_numpy(self.first(x).mean((2, 3)).detach().numpy()))


class Written(Small):
    """Its forward has the number of channels in it."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.first(x).view(-1, 8, 64).mean(2))


class Pair(Small):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return x, super().forward(x)


@pytest.mark.parametrize(
    ("net", "why"),
    [
        (Hidden(), "the layer 'first' receives no gradient"),
        (Written(), "shape '\\[-1, 8, 64\\]' is invalid"),
        (Pair(), "it returns a tuple, not one tensor"),
        (nn.Sequential(nn.Conv2d(3, 4, 3)), "to have 3 channels"),
    ],
    ids=["hidden", "written", "pair", "input"],
)
def test_an_untraceable_model_gets_one_sentence(net: nn.Module, why: str) -> None:
    killed(randomised(net))
    with pytest.raises(ValueError, match=f"graph could not be traced .*{why}.*; leave slim") as e:
        slim(net, example(net))
    assert "\n" not in str(e.value)


def test_parametrised_weights_are_refused() -> None:
    net = hb.parametrize.factorise(build("lenet:1"), 2)
    assert parametrize.is_parametrized(net.conv1)
    with pytest.raises(ValueError, match=r"The layer 'conv1' has parametrised weights.*collapse"):
        slim(net, example(net))
