"""The attack that sees answers alone."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import masks
from torch import nn

from hauberk.attacks import PGD
from hauberk.dataset import Examples
from hauberk.evaluation import Subject, under_attack
from hauberk.evaluation.decision import Decision, scaled
from hauberk.threat import Threat
from hauberk.threats import L1, L2, Linf


@pytest.mark.parametrize("threat", [Linf(0.1), L2(2.0), L1(3.0)])
def test_each_example_has_a_set_of_its_own_size(threat: Threat) -> None:
    x, z = torch.rand(2, 4, 3, 3), torch.rand(2, 4, 3, 3)
    both = scaled(threat, z[0], x[0], torch.tensor([0.1, 0.5, 1.0, 100.0]))
    for i, size in enumerate((0.1, 0.5, 1.0)):
        one = threat.scaled(size)
        assert one.contains(both[i : i + 1], x[0][i : i + 1])
        if isinstance(threat, Linf):
            assert torch.allclose(both[i : i + 1], one.project(z[0][i : i + 1], x[0][i : i + 1]))
    assert torch.allclose(both[3], z[0][3], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("threat", "slack"), [(Linf(0.1), 2), (L2(0.5), 5), (L1(1.0), 6)])
def test_it_finds_nearly_what_gradients_find(
    honest: nn.Module, examples: Examples, threat: Threat, slack: int
) -> None:
    few = examples.first(40)
    subject = Subject.of(masks.Masked(honest, after=masks.one_hot), few, threat)
    found = Decision(12, 30, 300)(subject, examples.images())
    white_box = under_attack(Subject.of(honest, few, threat), PGD(50, track=True))
    assert int(found.sum()) <= int(white_box.sum()) + slack
    assert bool((found <= subject.clean).all())
