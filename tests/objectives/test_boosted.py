"""The loss of a sum whose newest member is trained."""

from __future__ import annotations

import torch
from tests.helpers.nets import batch, normed
from torch.nn import functional as F

from hauberk.attacks import PGD
from hauberk.models import Ensemble
from hauberk.objectives import Adversarial, Boosted, MarginHard, Natural, OnPart
from hauberk.threats import Linf


def two() -> Ensemble:
    net = Ensemble([normed()])
    net.grow(normed())
    return net.train()


def test_margin_cross_entropy_is_its_formula() -> None:
    z, y = torch.randn(6, 4), torch.arange(6) % 4
    ce, target = F.cross_entropy(z, y, reduction="none"), MarginHard(y)
    for row in range(6):
        others = sum(F.log_softmax(-z[row], 0)[j] for j in range(4) if j != y[row])
        torch.testing.assert_close(target.each(z)[row], ce[row] - others / 3)
    torch.testing.assert_close(target.worst(z), target.each(z))
    p = z.softmax(1)[torch.arange(6), y]
    saturated = target.each(z, 0.5) - (target.each(z) - ce)
    torch.testing.assert_close(saturated, (1 - p.sqrt()) / 0.5)


def test_it_is_largest_where_a_wrong_class_wins() -> None:
    y = torch.tensor([0])
    right, wrong = torch.tensor([[4.0, 0, 0]]), torch.tensor([[0, 4.0, 0]])
    assert MarginHard(y).each(right) < MarginHard(y).each(wrong)
    zero = torch.zeros(1, 3, requires_grad=True)
    (grad,) = torch.autograd.grad(MarginHard(y).each(zero).sum(), zero)
    assert grad[0, 0] < 0 < grad[0, 1]


def test_gradients_reach_the_newest_member_alone() -> None:
    net = two()
    before = {n: b.clone() for n, b in net.members[0].named_buffers()}
    Boosted(Adversarial(Linf(0.1), PGD(2)))(net, batch()).value.backward()
    assert all(p.grad is None for p in net.members[0].parameters())
    assert all(p.grad is not None and p.grad.any() for p in net.members[1].parameters())
    assert all(torch.equal(b, before[n]) for n, b in net.members[0].named_buffers())


def test_frozen_members_run_once_outside_of_the_attack() -> None:
    net, calls = two(), list[bool]()
    net.members[0].register_forward_hook(lambda _m, _x, z: calls.append(z.requires_grad))
    Adversarial(Linf(0.1), PGD(3))(net, batch()).value.backward()
    assert calls == [True, True, True, False]  # input gradients; then no graph at all


def test_a_part_is_attacked_and_trained_alone() -> None:
    net, alone = two(), normed().train()
    inner = Adversarial(Linf(0.1), PGD(2))
    part, own = OnPart(inner, "members.1")(net, batch()), inner(alone, batch())
    assert torch.equal(part.value, own.value)
    part.value.backward()
    assert all(p.grad is None for p in net.members[0].parameters())


def test_the_sum_is_what_is_attacked() -> None:
    """The newest member of weight 0 changes neither the attack nor the loss."""
    net, alone = two().eval(), normed().eval()
    net.alpha[-1] = 0.0
    inner = Adversarial(Linf(0.1), PGD(2))
    assert torch.equal(inner(net, batch()).value, inner(alone, batch()).value)
    assert torch.equal(Natural()(net, batch()).value, Natural()(alone, batch()).value)
