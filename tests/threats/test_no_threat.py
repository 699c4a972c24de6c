"""No adversary: the only allowed image is the image, and training is natural."""

from __future__ import annotations

import pytest
import torch
from tests.helpers.nets import toy

import hauberk as hb
from hauberk.objectives import Natural
from hauberk.ops.random import generator
from hauberk.threats import NoThreat


def test_the_image_is_all_there_is() -> None:
    threat, x = NoThreat(), torch.rand(3, 1, 4, 4, generator=generator(0))
    far = x + 0.1
    assert torch.equal(threat.project(far, x), x)
    assert torch.equal(threat.sample(x, generator(1)), x)
    assert not threat.steepest(torch.randn(3, 1, 4, 4)).any()
    assert threat.contains(x, x)
    assert threat.inside(torch.cat([x[:2], far[2:]]), x).tolist() == [True, True, False]
    assert (threat.radius(), threat.scaled(2.0), str(threat)) == (0.0, threat, "none")


def test_training_without_it_is_natural() -> None:
    assert isinstance(hb.DA().objective(NoThreat()), Natural)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 3))
    made = hb.train(net, toy(), threat=None, method=hb.DA().with_(epochs=1))
    assert "robust" not in made.history[-1] and "clean" in made.history[-1]


def test_labels_are_needed_where_a_loss_has_them() -> None:
    pictures, net = toy().unlabelled(), torch.nn.Conv2d(1, 1, 3, padding=1)
    with pytest.raises(ValueError, match=r"ATMC learns from labels, and toy has none; give"):
        hb.compress(net, pictures, threat=None, method=hb.ATMC(), pretrained=True)
    with pytest.raises(ValueError, match=r"give a trained one \(--from"):
        hb.compress(net, pictures, threat=None, method=hb.methods.GANSlimming())
