"""What each process of `test_processes` runs: methods on digits; losses and messages as JSON."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

import hauberk as hb
from hauberk.runtime.processes import joined

QUICK: dict[str, Any] = {"epochs": 2, "dense_epochs": 2, "lr": 5e-3}
METHODS: dict[str, hb.Method] = {
    "atmc": hb.ATMC(keep=0.05, bits=3, codebook_epochs=1).with_(
        batch_size=90, shift=1, reuse=True, **QUICK
    ),
    "admm": hb.ADMMPruning(
        pattern="irregular", across=True, keep=0.3, admm_epochs=2, rounds=4
    ).with_(batch_size=128, **QUICK),
    "min-max": hb.DA().with_(batch_size=90, reuse=True, weight_rate=0.5, epochs=5, lr=5e-3),
    "long attack": hb.DA().with_(epochs=1, attack_steps=6, batch_size=128),
    "short attack": hb.DA().with_(epochs=1, attack_steps=1, batch_size=128),
}
UNION = hb.Union((hb.Linf(0.1), hb.L2(0.5)))


class Double(nn.Module):
    """What follows computes in double precision: rounding then cannot part the two runs."""

    def forward(self, x: Tensor) -> Tensor:
        return x.double()


def net() -> nn.Module:
    """With batch-norm after convolutions and after a linear layer."""
    torch.manual_seed(0)
    return nn.Sequential(
        Double(),
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1, stride=2),
        nn.BatchNorm2d(16, momentum=None),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 32),
        nn.BatchNorm1d(32, affine=False),
        nn.ReLU(),
        nn.Linear(32, 10),
    ).double()


def few() -> hb.Data:
    """A part of digits, so that it takes seconds."""
    data = hb.data.load("digits")
    return replace(data, train=data.train.first(200), validation=data.validation.first(32))


def follow(out: Path) -> None:
    """Every method's losses; the first process writes them, and how often it sent something."""
    group, found, sent = joined(), {}, [0]
    all_reduce = dist.all_reduce

    def counted(*args: Any) -> None:
        sent[0] += 1
        all_reduce(*args)

    dist.all_reduce = counted
    for name, method in METHODS.items():
        sent[0] = 0
        threat = UNION if name == "min-max" else hb.Linf(0.1)
        made = hb.compress(net(), few(), method=method, threat=threat, run=hb.Run(group=group))
        found[name] = {
            "loss": [row["loss"] for row in made.history],
            "val_loss": [row["val_loss"] for row in made.history],
            "share": [row.get("weight_l2", 0.0) for row in made.history],
            "kept": [row.get("kept") for row in made.history],
            "sent": sent[0],
            "weights": [float(p.detach().double().abs().sum()) for p in made.model.parameters()],
        }
    if group.first:
        out.write_text(json.dumps(found))


def follow_as(rank: int, size: int, port: int, out: Path) -> None:
    """`follow` as one of several processes of this machine."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    follow(out)
