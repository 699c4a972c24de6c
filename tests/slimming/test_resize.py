"""A module takes a file's sizes where its layers can, and is left alone where they cannot."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hauberk.artifact import Artifact
from hauberk.models import build
from hauberk.slimming.resize import resize

Shapes = dict[str, tuple[int, ...]]


class Net(nn.Module):
    """One layer of each kind that can be resized."""

    def __init__(self, width: int = 8, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, bias=bias)
        self.norm = nn.BatchNorm2d(width)
        self.depthwise = nn.Conv2d(width, width, 3, groups=width, bias=False)
        self.linear = nn.Linear(width, 3, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(torch.relu(self.norm(self.conv(x))))
        return self.linear(x.mean((2, 3)))


def shapes(model: nn.Module) -> Shapes:
    return {name: tuple(t.shape) for name, t in model.state_dict().items()}


def encode(model: nn.Module) -> Artifact:
    return Artifact.encode(model.state_dict(), architecture=None, input_shape=(1, 8, 8), classes=3)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_every_kind_takes_the_smaller_size(device: str) -> None:
    with torch.device(device):
        net = Net(8, bias=False)
    net.conv.weight.requires_grad_(False)
    resize(net, shapes(Net(3)))
    assert shapes(net) == shapes(Net(3))
    assert (net.conv.out_channels, net.conv.in_channels) == (3, 1)
    assert (net.depthwise.groups, net.depthwise.in_channels, net.depthwise.out_channels) == (3,) * 3
    assert (net.linear.in_features, net.linear.out_features) == (3, 3)
    assert net.norm.num_features == 3
    assert not net.conv.weight.requires_grad
    assert net.linear.weight.requires_grad
    assert isinstance(net.norm.running_mean, Tensor)
    assert not isinstance(net.norm.running_mean, nn.Parameter)
    assert {t.device.type for t in net.state_dict().values()} == {device}
    if device == "cpu":
        assert net(torch.rand(2, 1, 8, 8)).shape == (2, 3)


def test_the_same_sizes_change_nothing() -> None:
    net = Net()
    before = list(net.parameters())
    resize(net, shapes(Net()))
    assert all(a is b for a, b in zip(before, net.parameters(), strict=True))


def test_the_leading_part_is_kept_and_a_new_bias_is_zero() -> None:
    net = nn.Linear(4, 3, bias=False)
    want = net.weight[:2, :3].detach().clone()
    resize(net, {"weight": (2, 3), "bias": (2,)})
    assert torch.equal(net.weight, want)
    assert torch.equal(net.bias, torch.zeros(2))


@pytest.mark.parametrize(
    ("layer", "want"),
    [
        (nn.Linear(4, 3), {"weight": (5, 4), "bias": (5,)}),
        (nn.Linear(4, 3), {"weight": (3, 5), "bias": (3,)}),
        (nn.Linear(4, 3), {"weight": (2, 4), "bias": (3,)}),
        (nn.Linear(4, 3), {"weight": (0, 4), "bias": (0,)}),
        (nn.Linear(4, 3), {"weight": (2, 4, 1), "bias": (2,)}),
        (nn.Linear(4, 3), {"weight": (12,)}),
        (nn.Linear(4, 3), {"bias": (2,)}),
        (nn.Conv2d(4, 4, 3), {"weight": (4, 4, 1, 1), "bias": (4,)}),
        (nn.Conv2d(4, 4, 3, groups=2), {"weight": (2, 2, 3, 3), "bias": (2,)}),
        (nn.ConvTranspose2d(4, 4, 3, groups=2), {"weight": (2, 2, 3, 3), "bias": (4,)}),
        (nn.BatchNorm2d(4), {"weight": (3,), "bias": (2,)}),
        (nn.BatchNorm2d(4), {"weight": (5,), "bias": (5,)}),
        (nn.LayerNorm(4), {"weight": (3,), "bias": (3,)}),
        (nn.PReLU(4), {"weight": (3,)}),
        (nn.Embedding(4, 3), {"weight": (2, 3)}),
    ],
    ids=str,
)
def test_what_cannot_be_resized_is_left(layer: nn.Module, want: Shapes) -> None:
    before = shapes(layer)
    resize(layer, want)
    assert shapes(layer) == before


def test_fill_resizes_on_any_device() -> None:
    net = Net(3).eval()
    x = torch.rand(2, 1, 8, 8)
    for device in ("cpu", "meta"):
        with torch.device(device):
            larger = Net(8, bias=False)
        assert torch.equal(encode(net).fill(larger)(x), net(x))


def test_a_model_that_does_not_fit_is_left_as_it_is() -> None:
    for net, what in (
        (Net(2), r"conv.weight is \(3, 1, 3, 3\) in the file and \(2, 1, 3, 3\) in the model"),
        (nn.ModuleDict({"conv": nn.Conv2d(1, 8, 3)}), "norm.weight is not in the model"),
    ):
        before = shapes(net)
        with pytest.raises(ValueError, match=f"The file does not fit the model: .*{what}"):
            encode(Net(3)).fill(net)
        assert shapes(net) == before


def test_a_bias_that_the_file_lacks_is_reported() -> None:
    with pytest.raises(ValueError, match=r"conv.bias is missing from the file; linear.bias is"):
        encode(Net(3, bias=False)).fill(Net(8))


def test_a_narrow_net_loads_into_a_wide_one() -> None:
    narrow, x = build("resnet18:1").eval(), torch.rand(2, 3, 32, 32)
    artifact = encode(narrow)
    assert torch.equal(artifact.fill(build("resnet18:2"))(x), narrow(x))


def test_a_meta_model_may_not_lose_a_buffer() -> None:
    with torch.device("meta"):
        net = Net(3)
        net.register_buffer("mean", torch.zeros(1), persistent=False)
    with pytest.raises(ValueError, match=r"its buffer 'mean' is not in the file; give a model"):
        encode(Net(3)).fill(net)
