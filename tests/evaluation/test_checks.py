from __future__ import annotations

import copy

import pytest
import torch
from tests.helpers import masks
from torch import nn

from hauberk.dataset import Examples
from hauberk.evaluation import Check, Effort, Subject, run_checks
from hauberk.evaluation.checks.answers import jumps
from hauberk.threat import Threat
from hauberk.threats import L1, L2, Linf

LITTLE = Effort(probe=10, small=100, queries=100, rounds=1, learning=50, flips=100)
NAMES = [
    "one_function", "more_steps", "gradients", "slope", "plateau", "jumps", "large_radius", "gap",
    "noise", "scale", "straight_through", "eight_bits", "transfer", "student",
    "black_box", "decision",
]  # fmt: skip


class Rounded(nn.Module):
    """Hard quantisation: its gradient is zero everywhere."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (4 * x).round() / 4


class Loud(nn.Module):
    """Logits so large that the softmax is one, to the last bit."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 1e4 * x


def checked(net: nn.Module, examples: Examples, **more: object) -> dict[str, Check]:
    subject = Subject.of(net, examples.first(40), Linf(0.1))
    results = run_checks(subject, effort=LITTLE, **more)
    assert [r.name for r in results] == NAMES
    assert all(r.sentence.endswith(".") and "\n" not in r.sentence for r in results)
    return {r.name: r for r in results}


@pytest.mark.slow
def test_an_honest_net_passes(honest: nn.Module, examples: Examples) -> None:
    twin = copy.deepcopy(honest)
    found = checked(honest, examples, source=twin)
    assert all(check.passed is True for check in found.values()), found


@pytest.mark.slow
def test_an_honest_net_passes_under_l2(honest: nn.Module, examples: Examples) -> None:
    results = run_checks(Subject.of(honest, examples.first(40), L2(0.4)), effort=LITTLE)
    assert all(check.passed is not False for check in results), results


@pytest.mark.slow
def test_rounded_inputs_are_caught(honest: nn.Module, examples: Examples) -> None:
    found = checked(nn.Sequential(Rounded(), honest), examples, source=honest)
    for name in ("gradients", "slope", "large_radius"):
        assert found[name].passed is False, found[name]
    assert found["gradients"].values["margin"] == 1.0


@pytest.mark.slow
def test_rounded_activations_are_caught(honest: nn.Module, examples: Examples) -> None:
    layers = list(honest)
    net = nn.Sequential(*layers[:3], Rounded(), *layers[3:])
    found = checked(net, examples, source=honest)
    assert found["gradients"].passed is False and found["gap"].passed is False


@pytest.mark.slow
def test_a_saturated_softmax_is_caught(honest: nn.Module, examples: Examples) -> None:
    found = checked(nn.Sequential(honest, Loud()), examples)
    assert found["gradients"].passed is False and found["scale"].passed is False
    assert found["gradients"].values["margin"] == 0.0 < found["gradients"].values["cross_entropy"]


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.5), L1(2.0)])
def test_jumps_between_pieces_are_named(
    honest: nn.Module, examples: Examples, threat: Threat
) -> None:
    few = examples.first(40)
    whole = [EightBits(8.0 / 127)] * 2
    layers = list(honest)
    int8 = nn.Sequential(*layers[:3], whole[0], *layers[3:5], whole[1], *layers[5:])
    for net in (honest, int8):
        found = jumps(Subject.of(net, few, threat))
        assert found.passed is True and found.values["jumping"] < 0.1, found
    found = jumps(Subject.of(masks.inner(honest, 3, masks.winners), few, threat))
    assert found.passed is False and "k winners" in found.sentence, found


class EightBits(nn.Module):
    """Activations of eight bits, with a gradient straight through."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + ((x / self.step).round() * self.step - x).detach()


def test_noise_in_the_gradient_is_no_crime_but_zero_radius_is_no_check(
    honest: nn.Module, examples: Examples
) -> None:
    tiny = run_checks(Subject.of(honest, examples.first(10), Linf(1e-30)), effort=LITTLE)
    assert {c.name: c.passed for c in tiny}["large_radius"] is None


@pytest.mark.parametrize("device", ["cpu"] + ["cuda"] * torch.cuda.is_available())
def test_json(honest: nn.Module, examples: Examples, device: str) -> None:
    net = copy.deepcopy(honest).to(device)
    (first, *_) = run_checks(
        Subject.of(net, examples.first(9).to(device), Linf(0.1)), effort=LITTLE
    )
    assert set(first.json()) == {"passed", "sentence", "values"}
