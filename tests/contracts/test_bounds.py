"""Certified bounds: sound for every allowed input in float32, ordered, exact where they can be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import hauberk as hb
from hauberk.attacks import PGD
from hauberk.bounds import Crown, Interval, MarginBound, Network, certify
from hauberk.bounds.backward import forward
from hauberk.bounds.boxes import Box
from hauberk.bounds.live import live
from hauberk.bounds.region import Region
from hauberk.dataset import Examples
from hauberk.models import Ensemble, Normalized, build
from hauberk.ops.random import generator
from hauberk.threat import Threat
from hauberk.threats.none import NoThreat
from tests.contracts.rows import BOUNDS
from tests.helpers.nets import mlp, toy

SHAPE = (2, 6, 6)


class Residual(nn.Module):
    """A block whose input is added to its output."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(self.conv(x)) + x)


def plain() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(144, 12), nn.ReLU(), nn.Linear(12, 4)),
    )


def pooled() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, stride=1, padding=1, groups=2), nn.LeakyReLU(0.2)),
        *(nn.MaxPool2d(3, stride=2, padding=1), nn.Conv2d(4, 6, 2, dilation=2), nn.ReLU()),
        *(nn.AvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(6, 4)),
    )


def residual() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1), Residual(4), nn.MaxPool2d(2), Residual(4)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)),
    )


def summed() -> nn.Module:
    return Ensemble([plain(), pooled()], [1.0, 0.5])


def normalised() -> nn.Module:
    return Normalized(plain(), mean=(0.4, 0.5), std=(0.2, 0.3))


NETS: list[Callable[[], nn.Module]] = [plain, pooled, residual, summed, normalised]
THREATS = [hb.Linf(0.05), hb.L2(0.3), hb.L1(0.5), hb.Union((hb.Linf(0.03), hb.L2(0.2)))]


def net(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """With random weights, and statistics that are not 0 and 1."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = make().eval()
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.3)
            if name.endswith("running_var"):
                buffer.uniform_(0.3, 2)
    return model


def images(seed: int, count: int = 4) -> torch.Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


def margins(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """z_y − z_j in float64, of logits in float32."""
    with torch.no_grad():
        z = model(x).double()
    return z.gather(1, y[:, None]) - z


def tried(model: nn.Module, x: torch.Tensor, y: torch.Tensor, threat: Threat) -> list[torch.Tensor]:
    """Allowed inputs: random ones, and for each class those that bring it nearest."""
    found = [x, *(threat.sample(x, generator(0, k)) for k in range(3))]
    for j in range(4):

        def loss(x_adv: torch.Tensor, j: int = j) -> torch.Tensor:
            z = model(x_adv)
            return z[:, j] - z.gather(1, y[:, None])[:, 0]

        found.append(PGD(10)(loss, x, threat, generator(0, "to", j)))
    return found


PAIRS = [
    pytest.param(
        make, bound, id=f"{make.__name__}-{bound}", marks=[] if quick else pytest.mark.slow
    )
    for i, make in enumerate(NETS)
    for k, bound in enumerate(BOUNDS)
    for quick in (i == k,)
]


@pytest.mark.parametrize(("make", "bound"), PAIRS)
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 10_000), which=st.integers(0, len(THREATS) - 1))
def test_no_allowed_input_goes_below_the_bound(
    make: Callable[[], nn.Module], bound: MarginBound, seed: int, which: int
) -> None:
    model, x, threat = net(make, seed), images(seed), THREATS[which]
    y = model(x).argmax(1)
    low = bound(Network.of(model, SHAPE), x, y, threat)
    assert low.shape == (4, 4) and not low.gather(1, y[:, None]).any()
    for x_adv in tried(model, x, y, threat):
        assert (margins(model, x_adv, y) >= low).all()


@pytest.mark.slow
@pytest.mark.parametrize("make", NETS, ids=lambda make: make.__name__)
def test_the_bounds_are_ordered_and_monotone(make: Callable[[], nn.Module]) -> None:
    model, x = net(make, 1), images(1)
    network, y = Network.of(model, SHAPE), model(x).argmax(1)
    interval, ibp, full = (b(network, x, y, hb.Linf(0.03)) for b in (BOUNDS[0], *BOUNDS[1::2]))
    slopes = Crown(slopes=5)(network, x, y, hb.Linf(0.03))
    assert (slopes >= ibp - 1e-9).all()
    assert float((full - ibp).mean()) >= -1e-9 and float((ibp - interval).mean()) > 0
    for bound in BOUNDS:
        wide, narrow = (bound(network, x, y, hb.Linf(eps)) for eps in (0.05, 0.02))
        assert (narrow >= wide - 1e-9).all()
        point = bound(network, x, y, hb.Linf(0.0))
        torch.testing.assert_close(point, margins(model, x, y), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("bound", BOUNDS, ids=str)
def test_an_affine_network_is_bounded_exactly(bound: MarginBound) -> None:
    model = net(lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 4)), 0)
    x, eps = images(0).clamp(0.2, 0.8), 0.1
    y, network = model(x).argmax(1), Network.of(model, SHAPE)
    weight = model[1].weight.detach().double()  # type: ignore[index, union-attr]
    change = weight[y][:, None] - weight[None]
    true = margins(model, x, y) - eps * change.abs().sum(2)
    torch.testing.assert_close(bound(network, x, y, hb.Linf(eps)), true, atol=2e-4, rtol=1e-4)
    if bound != Interval():
        true = margins(model, x, y) - eps * change.norm(dim=2)
        torch.testing.assert_close(bound(network, x, y, hb.L2(eps)), true, atol=2e-4, rtol=1e-4)


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_every_node_stays_in_its_box(seed: int) -> None:
    model, x = net(residual, seed), images(seed)
    network, threat = Network.of(model, SHAPE), hb.Linf(0.1)
    boxes = forward(network, Region.of(x, threat))
    logits = model(threat.sample(x, generator(seed))).double()
    assert (boxes[-1].low <= logits).all() and (logits <= boxes[-1].high).all()


def test_rounding_of_float32_is_inside() -> None:
    """Weights that cancel: float32 is off by more than a bound of exact numbers would allow."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(72, 2))
    with torch.no_grad():
        signs = torch.tensor([1.0, -1.0]).repeat(36)
        model[1].weight.copy_(torch.stack([1e4 * signs, torch.zeros(72)]))
        model[1].bias.copy_(torch.tensor([1e-4, 0.0]))
    x = torch.full((1, *SHAPE), 0.3)
    low = Interval()(Network.of(model, SHAPE), x, torch.tensor([0]), hb.Linf(0.0))
    assert low[0, 1] < -1e-3  # a sum of 72 products of 3,000 may round by as much


@pytest.mark.parametrize("make", NETS, ids=lambda make: make.__name__)
def test_bounds_of_a_network_that_trains_are_those_of_intervals(
    make: Callable[[], nn.Module],
) -> None:
    model, x = net(make, 2), images(2)
    y, threat = model(x).argmax(1), hb.Linf(0.03)
    box = Region.of(x, threat).box
    found = live(model, Box(box.low.float(), box.high.float())).margins(y)
    wanted = Interval()(Network.of(model, SHAPE), x, y, threat).float()
    if make is summed:  # two last layers: the margins are not taken through both
        assert (found <= wanted + 1e-4).all()
    else:
        torch.testing.assert_close(found, wanted, atol=2e-4, rtol=1e-3)
    found.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (torch.sigmoid, "no bound of sigmoid"),
        (lambda x: x * x, "product of two activations"),
        (lambda x: x[:, :2], "cannot follow .* not subscriptable"),
    ],
)
def test_training_names_what_has_no_bound(
    act: Callable[[torch.Tensor], torch.Tensor], says: str
) -> None:
    class Acts(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return act(x)

    model = nn.Sequential(nn.Flatten(), Acts(), nn.Linear(72, 4))
    with pytest.raises(ValueError, match=says):
        live(model, Region.of(images(0), hb.Linf(0.1)).box)


@pytest.mark.slow
def test_certified_training_certifies() -> None:
    method = hb.DA().with_(epochs=12, batch_size=32, lr=0.01, certified=1.0, clean=0.3)
    data, threat = toy(), hb.Linf(0.05)
    trained = hb.train(mlp(), data, threat=threat, method=method).model
    plain_one = hb.train(mlp(), data, threat=threat, method=hb.DA().with_(epochs=12)).model
    ours, theirs = (
        float(certify(m, data.test, threat, [Interval()]).certified.float().mean())
        for m in (trained, plain_one)
    )
    assert ours > theirs and ours > 0.5


def test_certified_images_withstand_attacks() -> None:
    model = net(plain, 3)
    x = images(3, 40)
    y = model(x).argmax(1)
    some = Examples(x, y)
    threat = hb.Linf(0.02)
    found = certify(model, some, threat, batch_size=16)
    assert 0 < int(found.certified.sum()) < 40 or found.certified.all()
    assert sum(found.by.values()) == int(found.certified.sum())
    for x_adv in tried(model, x, y, threat):
        assert (model(x_adv).argmax(1) == y)[found.certified].all()
    wrong = Examples(x, (y + 1) % 4)
    assert not certify(model, wrong, threat).certified.any()


class Odd(nn.Module):
    """Layers of which no bound is known."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.last = kind, nn.Linear(72, 4)
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ways: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
            "sigmoid": torch.sigmoid,
            "random": lambda x: x + torch.rand_like(x),
            "dropout": lambda x: nn.functional.dropout(x, training=True),
            "batch": lambda x: x + len(x),
            "mean": lambda x: x - x.mean(0, keepdim=True),
            "product": lambda x: x * x,
            "half": lambda x: x.half().float(),
        }
        return self.last(ways[self.kind](x).flatten(1))


@pytest.mark.parametrize(
    "kind", ["sigmoid", "random", "dropout", "batch", "mean", "product", "half"]
)
def test_a_layer_with_no_bound_is_named(kind: str) -> None:
    with pytest.raises(ValueError, match=r"[Nn]o bound|float16") as caught:
        Network.of(Odd(kind), SHAPE)
    assert "\n" not in str(caught.value)


def test_what_is_no_classifier_is_refused() -> None:
    for model in (nn.Conv2d(2, 3, 1), Odd("none")):
        with pytest.raises(ValueError) as caught:
            Network.of(model, SHAPE)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="no certified bounds"):
        Region.of(images(0), NoThreat())
    with pytest.raises(ValueError, match="0 steps or more"):
        Crown(slopes=-1)


@pytest.mark.slow
def test_networks_of_the_zoo_have_bounds() -> None:
    for spec, shape in (
        ("lenet:2", (1, 28, 28)),
        ("caffe-lenet", (1, 28, 28)),
        ("resnet18:1", (3, 32, 32)),
        ("ensemble:2xlenet:1", (1, 28, 28)),
    ):
        model = build(spec).eval()
        network = Network.of(model, shape)
        x = torch.rand(2, *shape)
        y = model(x).argmax(1)
        low = Crown()(network, x, y, hb.Linf(1e-4))
        assert (margins(model, x, y) >= low).all() and network.classes == 10
