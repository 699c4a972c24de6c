"""No false alarm: the checks pass on networks of many kinds whose gradient is what it seems."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.helpers.judging import ASK, EFFORT, exported, only
from torch import Tensor, nn
from torch.nn import functional as F

import hauberk as hb
from hauberk.artifact import Artifact
from hauberk.attacks import PGD, losses
from hauberk.data import load
from hauberk.evaluation import Effort
from hauberk.ops.random import generator

pytestmark = pytest.mark.slow


class Residual(nn.Module):
    """Two residual blocks with batch-norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 12, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1))
            for _ in range(2)
        )
        self.head = nn.Linear(12 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        out: Tensor = self.head(F.avg_pool2d(x, 2).flatten(1))
        return out


def mlp(activation: nn.Module) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 64), activation, nn.Linear(64, 32), activation,
        nn.Linear(32, 10),
    )  # fmt: skip


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def trained(net: nn.Module, steps: int = 250) -> nn.Module:
    data, rng = load("digits"), generator(0, "honest")
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(steps):
        at = torch.randint(len(data.train), (64,), generator=rng)
        x, y = data.train.images(at), data.train.y[at]
        x = PGD(2)(lambda z, y=y: losses.cross_entropy(net(z), y), x, hb.Linf(0.1), rng)
        loss = F.cross_entropy(net(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval()


class Attention(nn.Module):
    """One layer of attention over the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.norm = nn.Linear(8, 24), nn.LayerNorm(24)
        self.attention = nn.MultiheadAttention(24, 2, batch_first=True)
        self.head = nn.Linear(8 * 24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.tokens(x[:, 0])
        at = self.norm(x)
        x = x + self.attention(at, at, at, need_weights=False)[0]
        out: Tensor = self.head(F.gelu(x).flatten(1))
        return out


def smooth() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.SiLU(), nn.AvgPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1), nn.Sigmoid(), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip


def pruned(net: nn.Module, keep: float = 0.2) -> nn.Module:
    """The net with the largest weights of each matrix, trained a little further."""
    net = trained(net)
    masks = {}
    for name, p in net.named_parameters():
        if p.ndim > 1:
            masks[name] = (p.abs() >= p.detach().abs().flatten().quantile(1 - keep)).float()
            p.data *= masks[name]
            p.register_hook(lambda grad, mask=masks[name]: grad * mask)
    return trained(net, 100)


def rounded(net: nn.Module, bits: int = 4) -> nn.Module:
    """The net with weights of a few bits."""
    net = trained(net)
    for p in net.parameters():
        step = p.detach().abs().max() / (2 ** (bits - 1) - 1)
        p.data = (p / step).round() * step
    return net


NETS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: mlp(nn.ReLU()),
    "lenet": lenet,
    "residual": Residual,
}
MORE: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: trained(nn.Sequential(nn.Flatten(), nn.Linear(64, 10))),
    "tanh": lambda: trained(mlp(nn.Tanh())),
    "gelu": lambda: trained(mlp(nn.GELU())),
    "leaky": lambda: trained(mlp(nn.LeakyReLU(0.2))),
    "smooth": lambda: trained(smooth()),
    "attention": lambda: trained(Attention()),
    "pruned mlp": lambda: pruned(mlp(nn.ReLU())),
    "pruned lenet": lambda: pruned(lenet()),
    "four bits": lambda: rounded(Residual()),
    "long trained": lambda: trained(lenet(), 1000),
    "hardly trained": lambda: trained(Residual(), 60),
    "normalised": lambda: trained(nn.Sequential(nn.BatchNorm2d(1), mlp(nn.ReLU6()))),
}
"""Judged with whole budgets, by `make examples`."""


@pytest.fixture(autouse=True)
def small_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hauberk.evaluation.search.USUAL", EFFORT)


def assert_no_alarm(report: hb.Report) -> None:
    row = only(report)
    assert row.clean.accuracy > 0.7
    assert [check.sentence for check in row.checks if check.passed is False] == []


@pytest.mark.parametrize("name", NETS)
def test_a_module_passes(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = trained(NETS[name]())
    assert_no_alarm(hb.evaluate(net, "digits", **ASK))


@pytest.mark.long
@pytest.mark.parametrize("name", MORE)
def test_a_dozen_more_pass(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hauberk.evaluation.search.USUAL", Effort())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        net = MORE[name]()
    assert_no_alarm(hb.evaluate(net, "digits", **{**ASK, "limit": 60}))


@pytest.mark.parametrize("kind", ["hbk", "foreign"])
def test_a_file_passes(kind: str, honest: nn.Module, tmp_path: Path) -> None:
    net, path = copy.deepcopy(honest).eval(), tmp_path / f"net.{'hbk' if kind == 'hbk' else 'onnx'}"
    artifact = Artifact.encode(
        net.state_dict(), architecture=None, input_shape=(1, 8, 8), classes=10
    )
    if kind == "hbk":
        artifact.save(path)
    else:
        exported(net, path)
    assert_no_alarm(hb.evaluate(path, "digits", model=net if kind == "hbk" else None, **ASK))
