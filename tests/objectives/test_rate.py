"""The expected size: near the codec's own on what is sparse and quantised, and it descends."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import hauberk as hb
from hauberk.allocation.forms import HbkForm
from hauberk.allocation.tensors import CodedTensors
from hauberk.batch import Batch
from hauberk.objectives import Rate, TensorRate


def tensors(net: nn.Module) -> CodedTensors:
    names = [name for name, p in net.named_parameters() if p.ndim > 1]
    return CodedTensors(net, names, most_bits=6, form=HbkForm(half=True))


def sparse(net: nn.Module, keep: float) -> CodedTensors:
    """A network of which this share of the weights was kept, in codebooks."""
    every = tensors(net)
    return tensors(every.copy(every.pruned(keep)))


def sharper(rate: TensorRate) -> TensorRate:
    """A quarter of the least magnitude for its threshold: what is kept counts 16/17 or more."""
    return replace(rate, threshold=rate.threshold / 4)


@pytest.mark.parametrize("name", ["digits-cnn", "lenet:4"])
@pytest.mark.parametrize("keep", [0.01, 0.03, 0.1])
def test_it_tracks_the_codec_on_sparse_quantised_trees(name: str, keep: float) -> None:
    small = sparse(hb.models.build(name), keep)
    rates = {n: sharper(t) for n, t in small.rates(small.detached).items()}
    expected = float(Rate(rates).bits(small.detached))
    assert expected == pytest.approx(small.length_bits, rel=0.05)


@pytest.mark.parametrize("keep", [0.06, 0.015])
def test_a_tariff_measured_at_one_size_foretells_others(keep: float) -> None:
    """What is held constant, the positions' structure and a code's length, moves slowly."""
    net = hb.models.build("lenet:4")
    middle, other = sparse(net, 0.03), sparse(net, keep)
    own = other.rates(other.detached)
    moved = {
        n: replace(sharper(own[n]), ratio=t.ratio, code_bits=t.code_bits, fixed_bits=t.fixed_bits)
        for n, t in middle.rates(middle.detached).items()
    }
    assert float(Rate(moved).bits(other.detached)) == pytest.approx(other.length_bits, rel=0.15)


def test_the_gradient_pushes_to_zero_what_is_near_the_threshold_most() -> None:
    t = torch.tensor([0.02, 0.1, -0.1, 1.0, 10.0] + [0.0] * 95, requires_grad=True)
    TensorRate(0.1).bits(t).backward()
    g = t.grad
    assert g is not None
    assert g[0] > 0 and g[1] > 0 and g[2] < 0 and g[1] == -g[2]
    assert g[1] > 30 * g[3] > 0 and g[3] > 100 * g[4] > 0
    assert not g[5:].any()


def test_the_gradient_is_the_change_of_the_value() -> None:
    t = (0.1 * torch.randn(60, generator=torch.Generator().manual_seed(0))).double()
    t.requires_grad_()
    torch.autograd.gradcheck(TensorRate(0.07, 0.9, 3.0, 40.0).bits, (t,))


def _batch() -> Batch:
    rng = torch.Generator()
    return Batch(torch.zeros(1, 1), torch.zeros(1, dtype=torch.long), rng)


def test_the_objective_is_a_logarithm_and_speaks_in_bytes() -> None:
    net = nn.Linear(4, 3)
    rate = TensorRate(0.1, code_bits=5.0, fixed_bits=100.0)
    loss = Rate({"weight": rate}, rest_bits=800)(net, _batch())
    whole = float(rate.bits(net.weight.detach())) + 800
    assert loss.metrics["bytes"] == pytest.approx(whole / 8)
    assert float(loss.value.detach()) == pytest.approx(torch.tensor(whole).log().item())
    loss.value.backward()
    assert net.weight.grad is not None and net.weight.grad.any() and net.bias.grad is None


def test_a_tariff_says_what_the_file_says() -> None:
    t = _scattered(400, 40, 4)
    rate = tensors(_net(t)).rates({"0.weight": t})["0.weight"]
    assert rate.threshold == pytest.approx(float(t[t != 0].abs().min()))
    assert rate.ratio == pytest.approx(1, abs=0.1)
    assert 1 < rate.code_bits <= 2 and rate.fixed_bits > 0


def _scattered(cells: int, kept: int, values: int) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    t = torch.zeros(cells)
    where = torch.randperm(cells, generator=rng)[:kept]
    t[where] = (1 + torch.randint(values, (kept,), generator=rng)).float() / 8
    return t.view(20, -1)


def _net(t: Tensor) -> nn.Module:
    layer = nn.Linear(t.shape[1], t.shape[0], bias=False)
    with torch.no_grad():
        layer.weight.copy_(t)
    return nn.Sequential(layer)


@pytest.mark.parametrize(
    "settings", [{"threshold": 0.0}, {"threshold": float("nan")}, {"ratio": -1.0}]
)
def test_costs_that_mean_nothing_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="give"):
        TensorRate(**{"threshold": 0.1, **settings})
