"""A figure belongs to a network only if its answers depend on the image alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.helpers import masks
from torch import nn

from hauberk.dataset import Examples
from hauberk.evaluation import Subject
from hauberk.evaluation.one_function import Expected, OneFunction
from hauberk.threats import Linf


def function(net: nn.Module, examples: Examples, draws: int = 0) -> OneFunction:
    return OneFunction("net", Subject.of(net, examples.first(64), Linf(0.1)), draws)


def decoy(net: nn.Module) -> nn.Module:
    return masks.Masked(net, before=lambda x: x.flip(-1))


@pytest.mark.parametrize(
    ("mask", "how"),
    [
        (masks.Noisy, "a second time"),
        (masks.Dropping, "a second time"),
        (masks.Mates, "one by one"),
        (lambda net: masks.Remembering(net, decoy(net), calls=8), "."),
    ],
)
def test_other_networks_are_refused(
    honest: nn.Module, examples: Examples, mask: Callable[[nn.Module], nn.Module], how: str
) -> None:
    with pytest.raises(ValueError, match=f"other logits.*{how}.*one_function") as caught:
        function(mask(honest), examples)
    assert "\n" not in str(caught.value)


def test_state_that_shows_late_is_refused_after_the_attacks(
    honest: nn.Module, examples: Examples
) -> None:
    found = function(masks.Remembering(honest, decoy(honest), calls=60), examples)
    for _ in range(80):
        found.subject.model(examples.images(slice(2)))
    with pytest.raises(ValueError, match="other logits"):
        found.after()


def test_an_honest_net_passes(honest: nn.Module, examples: Examples) -> None:
    found = function(honest, examples)
    found.after()
    assert found.check().passed is True
    half = function(nn.Sequential(honest, Half()), examples)
    assert half.check().passed is True


class Half(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.half()


def test_detectors_are_named(honest: nn.Module, examples: Examples) -> None:
    check = function(masks.GradMode(honest, decoy(honest)), examples).check()
    assert check.passed is False and "while gradients are recorded" in check.sentence
    found = function(masks.OffGrid(honest, decoy(honest)), examples)
    assert found.check().passed is False and "eight bits" in found.check().sentence


def test_the_mean_of_draws_can_be_judged(honest: nn.Module, examples: Examples) -> None:
    net = Expected(masks.Noisy(honest), 30)
    check = function(net, examples, draws=30).check()
    assert check.passed is None and "mean of 30" in check.sentence
    logits = net(examples.images(slice(8)))
    assert torch.allclose(logits.exp().sum(1), torch.full((8,), 30.0), atol=1e-3)
