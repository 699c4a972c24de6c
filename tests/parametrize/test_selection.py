"""Weights in layers that torch has no kind for: compressed by shape, or named with their share."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.nets import noise
from torch import Tensor, nn

import hauberk as hb
from hauberk.evaluation.shipped_file import read
from hauberk.networks import module
from hauberk.parametrize import (
    Selection,
    coded,
    collapse,
    dense_line,
    dense_parts,
    factorise,
    matrices,
)
from hauberk.runtime.notes import Note

QUICK = {"epochs": 1, "dense_epochs": 1, "attack_steps": 1}


class Recurrent(nn.Module):
    """Rows of an image, one after the other."""

    def __init__(self, kind: type[nn.RNNBase] = nn.GRU, **settings: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn = kind(8, 32, batch_first=True, **settings)
        self.head = nn.Linear(64 if settings.get("bidirectional") else 32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x[:, 0])[0][:, -1])


class Own(nn.Module):
    """Patches with positions, a class token and an expert's matrix; a table that is a buffer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.place = nn.Parameter(torch.randn(1, 17, 32))
        self.token = nn.Parameter(torch.randn(1, 1, 32))
        self.gates = nn.Parameter(torch.ones(2, 2))
        self.patch, self.head = nn.Linear(4, 32), nn.Linear(32, 10)
        self.experts = nn.ParameterList([nn.Parameter(torch.randn(32, 32) / 6)])
        self.register_buffer("table", torch.randn(17, 32))

    def forward(self, x: Tensor) -> Tensor:
        t = torch.cat([self.token.expand(len(x), 1, -1), self.patch(x.reshape(len(x), 16, 4))], 1)
        t = (t + self.place + self.table * self.gates[0, 0]) @ self.experts[0]
        return self.head(t.relu().mean(1))


def made(net: nn.Module, method: hb.Method) -> hb.Compressed:
    changes = {**QUICK, **({"codebook_epochs": 1} if hasattr(method, "codebook_epochs") else {})}
    return hb.compress(net, noise(1, 8, 8), method=method.with_(**changes), threat=hb.Linf(0.05))


def test_matrices_of_any_layer() -> None:
    assert matrices(Recurrent()) == ["rnn.weight_ih_l0", "rnn.weight_hh_l0", "head.weight"]
    assert matrices(Own()) == ["place", "patch.weight", "head.weight", "experts.0"]
    assert Selection(exclude=("place", "experts*"))(Own()) == ["patch.weight", "head.weight"]
    names = matrices(Recurrent())
    assert coded(Recurrent(), names, 96) == [*names, "rnn.bias_ih_l0", "rnn.bias_hh_l0"]
    scales = nn.Sequential(nn.LayerNorm((4, 8)), nn.PReLU(32))
    assert matrices(scales) == []
    with pytest.raises(ValueError, match="these are place, patch, head, experts"):
        Selection(include=("places",))(Own())


@pytest.mark.parametrize("net", [Recurrent, Own])
def test_keep_holds_and_the_file_equals_what_was_trained(net: type[nn.Module]) -> None:
    with pytest.warns(Note, match="stay dense") if net is Own else nullcontext():
        found = made(net(), hb.ATMC(keep=0.02, bits=4))
    state, names = found.artifact.state(), matrices(found.model)
    kept = sum(int(state[name].count_nonzero()) for name in names)
    assert 0 < kept <= 0.02 * sum(state[name].numel() for name in names)
    assert all(len(state[name].unique()) <= 17 for name in names)
    x = noise(1, 8, 8).test.images()
    with torch.no_grad():
        assert torch.equal(module(found.artifact, "f.hbk", net())(x), found.model(x))


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
@pytest.mark.parametrize("rank", [None, 3])
def test_a_recurrent_layer_computes_with_its_factors(
    kind: type[nn.RNNBase], rank: int | None
) -> None:
    net, x = Recurrent(kind, num_layers=2, bidirectional=True), torch.rand(2, 1, 8, 8)
    before = net(x)
    factorise(net, rank)
    assert torch.allclose(net(x), before, atol=1e-5) == (rank is None)
    net(x).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(1.5)
    moved = net(x)
    assert not torch.allclose(moved, before, atol=1e-3)
    assert torch.equal(copy.deepcopy(net)(x), moved)
    torch.testing.assert_close(collapse(net.double().float())(x), moved)
    copy.deepcopy(net)(x).sum().backward()


def test_factors_of_a_recurrent_net_reach_the_file() -> None:
    found, x = made(Recurrent(), hb.ATMC(keep=0.1, factors=True)), noise(1, 8, 8).test.images()
    with torch.no_grad():
        assert torch.equal(module(found.artifact, "f.hbk", Recurrent())(x), found.model(x))


def test_what_stays_dense_is_named_with_its_share(tmp_path: Path) -> None:
    net = Own()
    parts = dense_parts(net, matrices(net))
    assert list(parts) == ["table", "gates"]
    assert sum(parts.values()) < dense_parts(net, [])["place"] + parts["table"]
    assert dense_line(parts) == "table (20.6%), gates (0.2%)"
    with (
        pytest.warns(Note, match=r"These stay dense, .*: table \(20\.6%\), gates \(0\.2%\)\."),
        pytest.raises(ValueError, match=r"and what stays dense, table .*, alone take \d+"),
    ):
        made(net, hb.SizeTarget(size="5%"))
    with pytest.warns(Note, match="stay dense"):
        found = made(net, hb.AL0(keep=0.05))
    found.artifact.save(tmp_path / "f.hbk")
    assert "These stay dense" in read(tmp_path / "f.hbk", Own()).remark
    assert "table (" in read(tmp_path / "f.hbk", Own()).remark
