from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hauberk.data import load
from hauberk.dataset import Examples


@pytest.fixture
def short_autoattack(monkeypatch: pytest.MonkeyPatch) -> None:
    """AutoAttack of the same attacks with fewer steps and queries, where strength is no matter."""
    official = importlib.import_module("hauberk.evaluation.autoattack")  # its function has its name
    made = official._official

    def short(*given: Any) -> Any:
        found = made(*given)
        for attack in (found.apgd, found.apgd_targeted, found.fab):
            attack.n_iter = 25
        found.square.n_queries = 200
        return found

    monkeypatch.setattr(official, "_official", short)


@pytest.fixture(scope="session")
def examples() -> Examples:
    return load("digits").test


@pytest.fixture(scope="session")
def honest() -> nn.Module:
    """A small convolutional net, trained on digits for a second or two."""
    data = load("digits")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1, stride=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128, 32),
            nn.ReLU(),
            nn.Linear(32, 10),
        )
        optimiser = torch.optim.Adam(net.parameters(), 3e-3)
        for _ in range(15):
            for part in torch.randperm(len(data.train)).split(64):
                loss = F.cross_entropy(net(data.train.images(part)), data.train.y[part])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    return net
