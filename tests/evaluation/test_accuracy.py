from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from hauberk.attacks import PGD
from hauberk.dataset import Examples
from hauberk.evaluation import Subject, clean, under_attack
from hauberk.evaluation.accuracy import margin
from hauberk.evaluation.frozen_copy import freeze
from hauberk.evaluation.proportion import Proportion
from hauberk.threats import L1, L2, Linf


def test_linear_net_has_the_exact_worst_case() -> None:
    """For logits (wx, 0) and no box in the way, robust means wx > eps · ‖w‖₁."""
    torch.manual_seed(0)
    w = torch.randn(12)
    net = nn.Linear(12, 2)
    with torch.no_grad():
        net.weight.copy_(torch.stack([w, torch.zeros(12)]))
        net.bias.copy_(torch.tensor([-float(w.sum()) / 2, 0.0]))
    x = 0.5 + 0.3 * (torch.rand(300, 12) - 0.5)
    value = net(x)[:, 0].detach()
    examples = Examples(x, (value <= 0).long())
    for threat, norm in (
        (Linf(0.02), w.abs().sum()),
        (L2(0.06), w.norm()),
        (L1(0.1), w.abs().max()),
    ):
        reach = threat.radius() * norm
        exact, near = value.abs() > reach, (value.abs() - reach).abs() < 0.02 * reach
        found = under_attack(Subject.of(net, examples, threat, batch_size=64), PGD(30))
        assert 30 < int(exact.sum()) < 290 and not ((found != exact) & ~near).any()


@pytest.mark.parametrize("batch_size", [7, 500])
def test_the_model_is_left_untouched(
    honest: nn.Module, examples: Examples, batch_size: int
) -> None:
    net = copy.deepcopy(honest).train()
    net(examples.images(slice(8))).sum().backward()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    grads = [p.grad.clone() for p in net.parameters()]
    strides = [p.stride() for p in net.parameters()]
    few = examples.first(30)
    under_attack(Subject.of(net, few, Linf(0.1), batch_size=batch_size), PGD(3))
    assert net.training and all(p.requires_grad for p in net.parameters())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    for p, grad, stride in zip(net.parameters(), grads, strides, strict=True):
        assert torch.equal(p.grad, grad) and p.stride() == stride


def test_seeds_and_restarts(honest: nn.Module, examples: Examples) -> None:
    few, threat, attack = examples.first(200), Linf(0.1), PGD(2)
    world = torch.get_rng_state()
    one = under_attack(Subject.of(honest, few, threat), attack)
    assert torch.equal(world, torch.get_rng_state())
    assert torch.equal(one, under_attack(Subject.of(honest, few, threat), attack))
    seen: list[tuple[int, int, str]] = []
    many = under_attack(
        Subject.of(honest, few, threat), attack, restarts=4,
        progress=lambda done, total, note: seen.append((done, total, note)),
    )  # fmt: skip
    assert bool((many <= one).all()) and int(many.sum()) <= int(one.sum())
    assert bool((one <= clean(honest, few)).all())
    assert seen[-1][:2] == (800, 800) and all(a <= b for a, b, _ in seen)
    assert seen[-1][2] == f"attack, {Proportion.of(many)} left"
    with pytest.raises(ValueError, match="restarts"):
        under_attack(Subject.of(honest, few, threat), attack, restarts=0)


def test_what_fools_on_the_way_counts_and_leaves(honest: nn.Module, examples: Examples) -> None:
    """The verdict in pieces is that of every point of the whole way, at fewer gradients."""
    few, threat, steps = examples.first(100), Linf(0.15), 40
    asked: list[int] = []
    net = freeze(honest)

    class Counting(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            asked.append(len(x) if torch.is_grad_enabled() else 0)
            out: torch.Tensor = net(x)
            return out

    found = under_attack(
        Subject.of(Counting(), few, threat), PGD(steps, random_start=False, track=True)
    )
    correct = clean(honest, few)
    x, y = few.images(correct), few.y[correct]
    right = torch.ones(len(y), dtype=torch.bool)

    def loss(z: torch.Tensor) -> torch.Tensor:
        logits = net(z)
        right.logical_and_(logits.argmax(1) == y)
        return nn.functional.cross_entropy(logits, y, reduction="none")

    PGD(steps, random_start=False, track=True)(loss, x, threat, torch.Generator())
    assert torch.equal(found[correct], right) and not found[~correct].any()
    assert int(found.sum()) * steps < sum(asked) < 0.9 * int(correct.sum()) * steps


def test_freezing_keeps_logits_and_gives_contiguous_gradients(examples: Examples) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)).eval()
    x = examples.images(slice(4)).expand(-1, 3, -1, -1).contiguous().requires_grad_()
    assert torch.allclose(freeze(net)(x), net(x), atol=1e-6)
    (grad,) = torch.autograd.grad(freeze(net)(x).sum(), x)
    (plain,) = torch.autograd.grad(net(x).sum(), x)
    assert grad.is_contiguous() and torch.allclose(grad, plain, atol=1e-6)
    assert freeze(freeze(net)) is not net and isinstance(freeze(net), type(freeze(freeze(net))))


def test_nan_logits_are_no_success(examples: Examples) -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.full((len(x), 10), torch.nan)

    assert not clean(Broken(), examples).any()


def test_margin_is_positive_where_wrong() -> None:
    net, y = nn.Identity(), torch.tensor([0, 1])
    values = margin(net, y)(torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]]))
    assert values.tolist() == [-1.0, 2.0]
