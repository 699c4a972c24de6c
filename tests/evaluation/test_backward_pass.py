"""Calls that have no useful gradient get one, and keep their values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.helpers.masks import reversed_gradient
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.attack import input_gradient
from hauberk.evaluation.backward_pass import BackwardPass

LAYER = nn.Linear(5, 3).requires_grad_(False)


def in_no_grad(x: Tensor) -> Tensor:
    with torch.no_grad():
        return LAYER(x)


def clamped_in_place(x: Tensor) -> Tensor:
    return LAYER(x).clamp_(-0.01, 0.01)


CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "honest": LAYER,
    "rounded": lambda x: LAYER((4 * x).round() / 4),
    "detached": lambda x: LAYER(x.detach()),
    "data": lambda x: LAYER(x.data),
    "reversed": lambda x: reversed_gradient(LAYER(reversed_gradient(reversed_gradient(x)))),
    "nan": lambda x: LAYER(x) + (LAYER(x) * 0).sqrt(),
    "saturated": lambda x: torch.tanh(1e3 * LAYER(x)),
    "step": lambda x: LAYER(x * 0) + (LAYER(x) > 0).float(),
    "in place": clamped_in_place,
    "cast": lambda x: LAYER((x * 255).byte().float() / 255),
    "turned": lambda x: LAYER(2 * x.detach() - x),
    "no_grad": in_no_grad,
    "switched": lambda x: LAYER(x.detach() if x.requires_grad else x),
}


@pytest.mark.parametrize("name", CASES)
def test_the_value_stays_and_the_gradient_is_that_of_the_layer(name: str) -> None:
    net, x = CASES[name], torch.rand(2, 5, generator=torch.Generator().manual_seed(0))
    wide = x.clone().requires_grad_()
    mode = BackwardPass(comparisons=True)
    with torch.enable_grad(), mode:
        out = net(wide * 1)
    logits = mode.finish(out)[-1]
    assert torch.allclose(logits, net(x))
    (grad,) = torch.autograd.grad(logits[:, 0].sum(), wide)
    assert F.cosine_similarity(grad[0], LAYER.weight[0], dim=0) > 0.999


def test_what_is_done_before_the_first_layer_can_be_left_out() -> None:
    x = torch.rand(2, 5).requires_grad_()
    origin = x * 1
    mode = BackwardPass(origin=origin)
    with mode:
        out = LAYER(torch.sin(1e4 * origin))
    (grad,) = torch.autograd.grad(mode.finish(out)[-1][:, 0].sum(), x)
    assert torch.allclose(grad[0], LAYER.weight[0])


def test_hidden_logits_are_found() -> None:
    mode = BackwardPass()
    with torch.enable_grad(), mode:
        out = F.one_hot(LAYER(torch.rand(4, 5).requires_grad_() * 1).argmax(1), 3).float()
    first, *_, last = mode.finish(out)
    assert torch.equal(first.argmax(1), last.argmax(1)) and first.requires_grad


def test_a_gradient_that_is_no_number_counts_as_zero() -> None:
    x = torch.rand(2, 4)
    _, grad = input_gradient(lambda z: z.sum(1) + (z * 0).sqrt().sum(1), x)
    assert torch.equal(grad, torch.zeros_like(x))
