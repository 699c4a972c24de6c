"""A slim net computes what the masked one does, and really is smaller."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

import hauberk as hb
from hauberk.artifact import ArtifactError, dense_bytes
from hauberk.models import FAMILIES, build
from hauberk.slimming.constants import constants
from hauberk.slimming.slim import slim

FAMILY_SPECS = (
    *("lenet:4", "caffe-lenet", "digits-cnn"),
    *("vgg16:2", "resnet18:2", "resnet34:1", "wrn:10,1"),
)


class Residual(nn.Module):
    """What a user may write: an addition, batch-norm, functional layers, a flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.inner = nn.Conv2d(8, 6, 3, padding=1, bias=False)
        self.inner_norm = nn.BatchNorm2d(6)
        self.outer = nn.Conv2d(6, 8, 1)
        self.hidden = nn.Linear(8 * 16, 20)
        self.head = nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        inner = F.leaky_relu(self.inner_norm(self.inner(x)))
        x = F.max_pool2d(F.relu(x + self.outer(inner)), 2)
        return self.head(torch.tanh(self.hidden(x.flatten(1))))


class Branches(nn.Module):
    """Concatenation, a depthwise convolution, a grouped one."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(1, 8, 3)
        self.right = nn.Conv2d(1, 6, 3)
        self.depthwise = nn.Conv2d(14, 14, 3, groups=14)
        self.point = nn.Conv2d(14, 12, 1)
        self.grouped = nn.Conv2d(12, 8, 3, padding=1, groups=2)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([F.relu(self.left(x)), F.gelu(self.right(x))], 1)
        x = F.relu(self.point(F.silu(self.depthwise(x))))
        return self.head(self.grouped(x).mean((2, 3)))


class Small(nn.Module):
    """A first layer of eight channels, a second of eight, and whatever stands between them."""

    def __init__(self, between: Callable[[Tensor], Tensor] = F.relu) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8, 5)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.between(self.first(x))).mean((2, 3)))


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


def inputs(shape: tuple[int, ...], count: int = 8) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(7))


@torch.no_grad()
def randomised(net: nn.Module, seed: int = 0) -> nn.Module:
    """Random biases, statistics and affine values, so that a dead channel's constant is not 0.

    The weights are large enough that a deep net still looks at its input when half of it is gone.
    """
    rng = torch.Generator().manual_seed(seed)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.normal_(0, 2 / layer.weight[0].numel() ** 0.5, generator=rng)
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.2, generator=rng)
            layer.running_var.uniform_(0.5, 1.5, generator=rng)
            layer.weight.uniform_(0.5, 1.5, generator=rng)
        if getattr(layer, "bias", None) is not None:
            layer.bias.normal_(0, 0.3, generator=rng)
    return net.eval()


@torch.no_grad()
def killed(net: nn.Module, seed: int = 1) -> nn.Module:
    """Random filters, input channels and batch-norm scales are zero."""
    rng = torch.Generator().manual_seed(seed)
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    for layer in layers[:-1]:
        layer.weight[torch.rand(len(layer.weight), generator=rng) < 0.3] = 0
    for layer in layers[1:]:
        layer.weight[:, torch.rand(layer.weight.shape[1], generator=rng) < 0.2] = 0
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight[torch.rand(layer.num_features, generator=rng) < 0.2] = 0
    return net


def shapes(net: nn.Module) -> dict[str, tuple[int, ...]]:
    return {n: tuple(p.shape) for n, p in net.named_parameters() if p.ndim > 1}


def example(net: nn.Module) -> Tensor:
    named = getattr(net, "architecture", None)
    return torch.zeros(1, *(FAMILIES[named[0]].input_shape if named else (1, 8, 8)))


def size(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@torch.no_grad()
def check_equal(small: nn.Module, net: nn.Module) -> None:
    x = inputs(tuple(example(net).shape[1:]))
    have, want = small(x), net(x)
    assert (want - want[:1]).abs().max() > 1e-2 * want.abs().max()  # it looks at its input
    assert (have - want).abs().max() <= 1e-5 * want.abs().max()


@pytest.mark.parametrize("spec", FAMILY_SPECS)
def test_slim_equals_masked(spec: str) -> None:
    net = killed(randomised(build(spec)))
    before = {name: t.clone() for name, t in net.state_dict().items()}
    small = slim(net, example(net))
    check_equal(small, net)
    assert size(small) < 0.6 * size(net)
    assert not small.training
    assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())


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
    net, want = randomised(build(spec)), shapes(build(narrow))
    with torch.no_grad():
        for name, p in net.named_parameters():
            if name in want:
                p[want[name][0] :] = 0
    assert shapes(slim(net, example(net), exact=False)) == want
    exact = slim(net, example(net))
    check_equal(exact, net)
    for name, shape in shapes(exact).items():  # at most a few carriers a group
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
    assert shapes(small) == {
        "conv1.weight": (15, 1, 5, 5),
        "conv2.weight": (43, 15, 5, 5),
        "fc1.weight": (491, 43 * 16),
        "fc2.weight": (10, 491),
    }
    small = slim(demo, example(demo))
    check_equal(small, demo)
    assert shapes(small) == {
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
    assert shapes(small) == {
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
    assert shapes(small) == {
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


def chain(padding: int = 0, mode: str = "zeros", bias: bool = False) -> nn.Sequential:
    """Channels 0 to 2 of the first layer are dead, and give 1, 2 and 3."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 4, 3, padding=padding, padding_mode=mode, bias=bias),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.Linear(4 * (64 if padding else 36), 5),
    )
    randomised(net)
    with torch.no_grad():
        net[0].weight[:3] = 0
        net[0].bias[:3] = torch.tensor([1.0, 2.0, 3.0])
    return net


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
    assert shapes(small) == {
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
        assert [len(p) for p in shapes(small).values()] == [4, 4, 2, 2]
        assert [p[0] for p in shapes(small).values()] == [1, 1, 1, 10]


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


def test_what_may_be_trained_stays_so() -> None:
    net = chain()
    net[2].weight.requires_grad_(False)
    small = slim(net, example(net))
    flags = {name: p.requires_grad for name, p in small.named_parameters()}
    assert [name for name, flag in flags.items() if not flag] == ["2.weight"]
    with torch.no_grad():
        assert slim(net, example(net))[2].weight.shape == (4, 5, 3, 3)


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
        (Hidden(), "no gradient comes back to the layer 'first'"),
        (Written(), "shape '\\[-1, 8, 64\\]' is invalid"),
        (Pair(), "it gives a tuple, not one tensor"),
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


@pytest.fixture
def lean() -> tuple[nn.Module, nn.Module]:
    net = killed(randomised(build("resnet18:1")))
    return net, slim(net, example(net))


def encode(small: nn.Module, net: nn.Module, whole: int | None = None) -> hb.Artifact:
    named = getattr(net, "architecture", None)
    return hb.Artifact.encode(
        small.state_dict(),
        architecture=hb.artifact.Architecture(*named) if named else None,
        input_shape=tuple(example(net).shape[1:]),
        classes=10,
        dense_bytes=whole,
    )


def test_a_slim_file_loads_into_the_named_network(
    tmp_path: Path, lean: tuple[nn.Module, nn.Module]
) -> None:
    net, small = lean
    encode(small, net, dense_bytes(net.state_dict())).save(tmp_path / "slim.hbk")
    loaded = hb.load(tmp_path / "slim.hbk")
    x = inputs((3, 32, 32))
    assert torch.equal(loaded(x), small(x))
    assert shapes(loaded) == shapes(small)
    artifact = hb.Artifact.load(tmp_path / "slim.hbk")
    assert artifact.dense_bytes == encode(net, net).dense_bytes > encode(small, net).dense_bytes


@pytest.mark.parametrize("cls", [Residual, Branches])
def test_a_slim_file_loads_into_a_users_module(tmp_path: Path, cls: type[nn.Module]) -> None:
    net = killed(randomised(cls()))
    small = slim(net, example(net))
    encode(small, net, dense_bytes(net.state_dict())).save(tmp_path / "slim.hbk")
    loaded = hb.load(tmp_path / "slim.hbk", model=cls())
    x = inputs((1, 8, 8))
    assert torch.equal(loaded(x), small(x))
    assert hb.Artifact.load(tmp_path / "slim.hbk").dense_bytes == dense_bytes(net.state_dict())


def test_tied_tensors_count_once_in_the_dense_bytes() -> None:
    net = build("lenet:1").state_dict()
    twice = {**net, "again": net["fc1.weight"]}
    assert dense_bytes(twice) == dense_bytes(net) == encode(build("lenet:1"), Small()).dense_bytes


@pytest.mark.parametrize("whole", [0, -4, 1 << 48, 4.0, True, "4"])
def test_absurd_dense_bytes_are_refused(whole: int) -> None:
    net = Small()
    with pytest.raises(ValueError, match=r"dense_bytes was given as .*; give a whole number"):
        encode(net, net, whole)


def test_a_dense_net_smaller_than_the_file_is_refused() -> None:
    net = Small()
    own = dense_bytes(net.state_dict())
    with pytest.raises(ValueError, match=f"given as {own - 4:,} and the state itself has {own:,}"):
        encode(net, net, own - 4)
    assert encode(net, net, own).dense_bytes == own


def test_damaged_dense_bytes_are_refused() -> None:
    from hauberk.artifact import format

    net = Small()
    found = format.unpack(encode(net, net, 9000).content)
    about, table, stream = found.about, found.table, found.stream
    assert about.dense_bytes == 9000
    for odd in ("nine", "09000", "-9000", str(1 << 48), "", "9_000"):
        content = format.pack(about, table, stream)
        length = int.from_bytes(content[:8], "little")
        changed = content[8 : 8 + length].replace(b'"9000"', f'"{odd}"'.encode()).rstrip()
        changed += b" " * (-len(changed) % 8)
        with pytest.raises(ArtifactError, match="header that hauberk does not write"):
            hb.Artifact.from_bytes(_signed(changed, content[8 + length :]))
    lying = format.pack(format.About(None, (1, 8, 8), 10, 8), table, stream)
    with pytest.raises(ArtifactError, match="contradict each other"):
        hb.Artifact.from_bytes(lying)


def _signed(header: bytes, payload: bytes) -> bytes:
    """A file whose checksum holds."""
    import hashlib
    import re

    mark = rb'"checksum":"[0-9a-f]{16}"'
    blank = re.sub(mark, b'"checksum":"' + b"0" * 16 + b'"', header)
    whole = len(blank).to_bytes(8, "little") + blank + payload
    digest = hashlib.blake2b(whole, digest_size=8).hexdigest()
    return whole.replace(b"0" * 16, digest.encode(), 1)
