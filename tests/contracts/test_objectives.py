"""The laws of an objective; one row in `rows.OBJECTIVES` admits a new one.

An objective that is made of another has a row in `rows.WRAPPERS`, too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import nn

from hauberk.attacks import PGD
from hauberk.batch import Batch
from hauberk.objectives import Adversarial, Audit, Hard, Natural, SharedWeights, Supervised
from hauberk.problem import Objective
from hauberk.threats import L2, Linf, Union
from tests.contracts.rows import OBJECTIVES, WRAPPERS
from tests.helpers.nets import batch, normed
from tests.helpers.trees import same

every_objective = pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: type(o).__name__)
INNER = [
    Natural(),
    Adversarial(Linf(0.1), PGD(1)),
    Adversarial(
        Union((Linf(0.1), L2(0.3))), PGD(1), weighting=SharedWeights(rate=0.5), audit=Audit(1)
    ),
]


def first(objective: Objective) -> Batch:
    """The first batch of a stage: the objective's memory is new, and an audit is due."""
    return replace(batch(), memory=objective.memory(), step=0)


def half_frozen() -> nn.Module:
    """Modes and frozen parameters that are not all alike."""
    net = normed()
    net[3].eval()
    net[0].bias.requires_grad_(False)
    return net


@contextmanager
def untouched(net: nn.Module) -> Iterator[None]:
    """Every tensor, mode and flag of a network is the same bit afterwards; it has no gradients."""

    def flags() -> list[bool]:
        return [m.training for m in net.modules()] + [p.requires_grad for p in net.parameters()]

    before, modes = copy.deepcopy(net.state_dict()), flags()
    yield
    assert same(before, net.state_dict())
    assert modes == flags()
    assert all(p.grad is None for p in net.parameters())


@every_objective
def test_is_a_scalar_with_a_gradient_and_bare_metrics(objective: Objective) -> None:
    net = normed()
    loss = objective(net, first(objective))
    assert loss.value.shape == () and loss.value.isfinite()
    for name, value in loss.metrics.items():
        assert value.shape == () and value.isfinite() and not value.requires_grad, name
    assert all(p.grad is None for p in net.parameters())
    loss.value.backward()
    grads = [p.grad for p in net.parameters() if p.grad is not None]
    assert grads and all(grad.isfinite().all() for grad in grads)
    assert any(grad.any() for grad in grads)


@every_objective
def test_its_gradient_leads_down(objective: Objective) -> None:
    net = normed().eval()
    before = objective(net, first(objective)).value
    before.backward()
    grads = [p.grad for p in net.parameters() if p.grad is not None]
    length = torch.stack([grad.norm() for grad in grads]).norm()
    with torch.no_grad():
        for p in net.parameters():
            if p.grad is not None:
                p.sub_(0.02 * p.grad / length)
    assert objective(net, first(objective)).value < before


@every_objective
def test_equal_generators_give_equal_losses(objective: Objective) -> None:
    batches = first(objective), first(objective)
    nets = normed(), normed()
    losses = [objective(net, b) for net, b in zip(nets, batches, strict=True)]
    assert torch.equal(losses[0].value, losses[1].value)
    assert same(losses[0].metrics, losses[1].metrics)
    assert same(batches[0].memory, batches[1].memory)
    assert same(nets[0].state_dict(), nets[1].state_dict())


@pytest.mark.parametrize(
    "objective",
    [o for o in OBJECTIVES if isinstance(o, Supervised)],
    ids=lambda o: type(o).__name__,
)
def test_the_inner_maximisation_leaves_no_trace(objective: Supervised) -> None:
    net, b = half_frozen(), first(objective)
    with untouched(net):
        x_adv = objective.attacked(net, b, Hard(b.y))
    assert len(x_adv) in (0, objective.searches())
    assert all(x.shape == b.x.shape and not x.requires_grad for x in x_adv)
    assert all(x.min() >= 0 and x.max() <= 1 for x in x_adv)


@every_objective
def test_leaves_a_network_in_eval_mode_untouched(objective: Objective) -> None:
    net = half_frozen().eval()
    with untouched(net):
        loss = objective(net, first(objective))
    with untouched(net), torch.no_grad():
        unseen = objective(net, first(objective))
    assert loss.value.requires_grad and not unseen.value.requires_grad
    assert unseen.value.isfinite() and unseen.metrics.keys() == loss.metrics.keys()


@every_objective
def test_leaves_the_modes_of_a_network_that_learns(objective: Objective) -> None:
    net = half_frozen()
    modes = [m.training for m in net.modules()]
    objective(net, first(objective)).value.backward()
    assert modes == [m.training for m in net.modules()]
    assert net[0].bias.grad is None


@every_objective
def test_its_memory_is_new_each_time(objective: Objective) -> None:
    one, other = objective.memory(), objective.memory()
    assert same(one, other)
    assert all(one[n] is not other[n] for n in one)
    objective(normed(), replace(batch(), memory=one, step=0))
    assert one.keys() == other.keys() and same(other, objective.memory())


@pytest.mark.parametrize("inner", INNER, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("wrap", WRAPPERS, ids=lambda w: type(w(Natural())).__name__)
def test_a_wrapper_forwards_memory_and_searches(
    wrap: Callable[[Supervised], Objective], inner: Supervised
) -> None:
    outer = wrap(inner)
    assert same(outer.memory(), inner.memory())
    assert outer.searches() == inner.searches()
    b = first(outer)
    outer(normed(), b)
    moved = [
        name for name, start in inner.memory().items() if not torch.equal(start, b.memory[name])
    ]
    assert ("weights" in moved) == ("weights" in inner.memory())
