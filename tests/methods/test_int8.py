"""Weights that were trained on a grid: the file holds it, pruned weights stay, training pays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.helpers.nets import mlp, toy
from torch import nn

import hauberk as hb
from hauberk.attacks import PGD
from hauberk.evaluation import Subject, under_attack
from hauberk.parametrize import Rounded

THREAT = hb.Linf(0.1)
QUICK = {"batch_size": 32, "lr": 0.02}


def dense() -> nn.Module:
    return hb.compress(mlp(), toy(), method=hb.DA().with_(epochs=4, **QUICK), threat=THREAT).model


def robust(net: nn.Module) -> float:
    seen = under_attack(Subject.of(net, toy().test, THREAT), PGD(20, track=True))
    return float(seen.double().mean())


@pytest.mark.slow
@pytest.mark.parametrize("per_channel", [False, True])
def test_the_file_holds_whole_multiples_and_pruned_weights_stay(per_channel: bool) -> None:
    net = dense()
    masks = {}
    with torch.no_grad():
        for name, p in net.named_parameters():
            if p.ndim > 1:
                masks[name] = p.abs() >= p.abs().median()
                p.copy_(torch.where(masks[name], p, 0.0))
    method = hb.Int8(bits=5, per_channel=per_channel).with_(epochs=2, **QUICK)
    made = hb.compress(net, toy(), method=method, threat=THREAT, pretrained=True)
    assert not any(isinstance(m, Rounded) for m in made.model.modules())
    for name, mask in masks.items():
        weight = made.artifact.state()[name]
        assert weight.any() and not weight[~mask].any()
        for row in weight if per_channel else [weight.flatten()]:
            ratios = row[None, :].double() * torch.arange(1, 16)[:, None] / row.abs().max()
            assert ((ratios - ratios.round()).abs() < 1e-4).all(1).any()


@pytest.mark.slow
def test_training_withstands_more_than_rounding_does() -> None:
    net, seen = dense(), {}
    for epochs in (0, 6):
        method = hb.Int8(bits=2).with_(epochs=epochs, **QUICK)
        made = hb.compress(net, toy(), method=method, threat=THREAT, pretrained=True)
        seen[epochs] = robust(made.model)
    assert seen[6] > seen[0] + 0.05, seen


def test_a_finished_run_resumes_to_the_same_file(tmp_path: Path) -> None:
    method, made = hb.Int8(dense_epochs=1).with_(epochs=1, **QUICK), []
    for resume in (False, True):
        run = hb.Run(resume=resume)
        made.append(hb.compress(mlp(), toy(), method=method, threat=THREAT, out=tmp_path, run=run))
    assert made[0].artifact.content == made[1].artifact.content


@pytest.mark.parametrize("settings", [{"bits": 1}, {"bits": 9}, {"half": True}])
def test_settings_that_mean_nothing_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"^(bits was given|Int8 has no setting 'half')[^\n]+\.$"):
        hb.Int8().with_(**settings)
