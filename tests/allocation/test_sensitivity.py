"""What a cut of each layer does to the problem's own loss."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import hauberk as hb
from hauberk.allocation.byte_budget import Choice, cut
from hauberk.allocation.forms import HbkForm
from hauberk.allocation.sensitivity import least_distorting, measured
from hauberk.allocation.tensors import CodedTensors
from hauberk.dataset import Examples
from hauberk.objectives import Adversarial, Natural

NAMES = ("keen.weight", "dull.weight")


class TwoWays(nn.Module):
    """Two layers of equal weights beside one another, of which one hardly counts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm = nn.BatchNorm1d(36)
        self.keen, self.dull = nn.Linear(36, 3), nn.Linear(36, 3)
        self.keen.weight.data.normal_(0, 2)
        self.dull.load_state_dict(self.keen.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x.flatten(1))
        return self.keen(x) + 0.02 * self.dull(x)


@pytest.fixture
def net() -> TwoWays:
    return TwoWays().eval()


@pytest.fixture
def examples(net: TwoWays) -> Examples:
    """Random images, and what the network says of them."""
    x = torch.rand(300, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return Examples(x, net(x).argmax(1))


@pytest.mark.slow
@pytest.mark.parametrize("reuse", [False, True])
def test_a_layer_that_hardly_counts_is_found(net: TwoWays, examples: Examples, reuse: bool) -> None:
    objective = Adversarial(hb.Linf(0.05), hb.PGD.soft(2))
    distortions = measured(
        CodedTensors(net, NAMES, 8, HbkForm(half=True)), objective, examples, reuse
    )
    grid = torch.linspace(0.05, 0.5, 10).double().numpy()
    for curve in ("cut", "rounding"):
        keen, dull = (getattr(distortions[name], curve)(grid) for name in NAMES)
        assert (dull < 0.2 * keen).all(), curve


def test_the_loss_is_the_problem_s_own(net: TwoWays, examples: Examples) -> None:
    """Without an attack the curve is the loss of the cut network, to the digit."""
    (name, *_), w = NAMES, net.keen.weight.detach()
    distortion = measured(
        CodedTensors(net, NAMES, 8, HbkForm(half=True)), Natural(), examples, reuse=False
    )[name]
    x, y = examples.images(), examples.y

    def loss(weight: Tensor) -> float:
        changed = copy.deepcopy(net).eval()
        changed.keen.weight.data.copy_(weight)
        with torch.no_grad():
            return float(nn.functional.cross_entropy(changed(x), y))

    kept = round(0.1 * w.numel())
    few = torch.where(w.abs() >= w.abs().flatten().sort(descending=True).values[kept - 1], w, 0)
    assert distortion.cut.losses[-1] == pytest.approx(loss(few) - loss(w), rel=1e-3)


@pytest.mark.slow
def test_the_network_is_left_as_it_was_and_the_answer_is_the_same_twice(
    net: TwoWays, examples: Examples
) -> None:
    net.train()
    before = copy.deepcopy(net.state_dict())
    tensors, objective = CodedTensors(net, NAMES, 8, HbkForm(half=True)), Adversarial(hb.Linf(0.05))
    first, again = (measured(tensors, objective, examples, reuse=True) for _ in range(2))
    assert first == again
    least_distorting(
        tensors, tensors.trims(tensors.length_bits - 64), objective, examples, reuse=True
    )
    assert net.training and all(p.requires_grad for p in net.parameters())
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())


def test_a_trim_cuts_one_tensor_and_no_more_of_it_than_it_must(net: TwoWays) -> None:
    tensors = CodedTensors(net, NAMES, 8, HbkForm(half=True))
    tensors.take({name: Choice(40, 8) for name in NAMES})
    before, limit = tensors.detached, tensors.length_bits - 100
    plans = list(tensors.trims(limit))
    assert len(plans) == len(NAMES)
    for name, plan in zip(NAMES, plans, strict=True):
        trimmed = cut(before, plan)
        (other,) = set(NAMES) - {name}
        assert torch.equal(trimmed[other], before[other])
        assert tensors.length(trimmed) <= limit
        more = {**plan, name: plan[name]._replace(kept=plan[name].kept + 1)}
        assert tensors.length(cut(before, more)) > limit
    assert not list(tensors.trims(1.0)), "no tensor is emptied"


def test_a_trim_of_weights_without_a_codebook_gives_them_one(net: TwoWays) -> None:
    tensors = CodedTensors(net, NAMES, 3, HbkForm(half=True))
    plans = list(tensors.trims(0.9 * tensors.length_bits))
    assert plans and all(choice.values <= 8 for plan in plans for choice in plan.values())


def test_of_several_plans_the_one_that_costs_least_is_taken(
    net: TwoWays, examples: Examples
) -> None:
    tensors = CodedTensors(net, NAMES, 8, HbkForm(half=True))
    tensors.take({name: Choice(40, 8) for name in NAMES})
    plans = list(tensors.trims(tensors.length_bits - 100))
    with torch.no_grad():
        told = replace(examples, y=net(examples.images()).argmax(1))
    for order in (plans, plans[::-1]):
        plan = least_distorting(tensors, order, Adversarial(hb.Linf(0.01)), told, reuse=False)
        assert plan["dull.weight"].kept < plan["keen.weight"].kept == 40
