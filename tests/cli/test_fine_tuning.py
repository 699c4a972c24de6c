"""Runs that start from trained weights: what they are worth is said first, what came out last."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from tests.helpers.command import refused, run
from tests.helpers.nets import mlp, noise, toy
from torch import nn

import hauberk as hb
from hauberk.evaluation import Proportion, Row
from hauberk.runtime.notes import Note
from hauberk.verbs.start import StartingPoint

CPU = torch.device("cpu")
QUICK = ["--epochs", "1", "--attack-steps", "1", "--attack", "fgsm", "--limit", "60"]


def point(clean: int, robust: int) -> StartingPoint:
    return StartingPoint(Proportion(clean, 100), Proportion(robust, 100), 0.1, "linf:0.1")


def test_a_robust_start_is_only_measured() -> None:
    line = point(90, 70).line(compresses=True)
    assert line.endswith("(linf:0.1).") and "90.0% of 100" in line and not point(90, 70).natural


def test_a_natural_start_gets_advice() -> None:
    found = point(90, 2)
    assert found.natural and not point(12, 2).natural
    assert "it is not robust; train it adversarially first" in found.line(compresses=True)
    assert "it is trained adversarially now" in found.line(compresses=False)
    assert "are these its classes?" in point(12, 2).line(compresses=True)


def test_the_start_is_left_untouched() -> None:
    net = mlp().train()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    found = StartingPoint.of(net, toy(), hb.Linf(0.3), CPU)
    assert found.clean.n == 60 and found.robust.successes <= found.clean.successes
    assert net.training and all(torch.equal(t, before[n]) for n, t in net.state_dict().items())


def test_python_says_it_of_a_natural_net() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    with torch.no_grad():  # each class is one pixel
        net[1].weight.zero_()
        net[1].bias.zero_()
        for k in range(3):
            net[1].weight[k, 7 * k] = 1.0
    method = hb.AP().with_(keep=0.5, epochs=0)
    with pytest.warns(Note, match="it is not robust; train it adversarially first") as said:
        hb.compress(net, toy(), threat=hb.Linf(0.6), method=method, pretrained=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        natural = hb.NAP().with_(keep=0.5, epochs=0)
        made = hb.compress(net, toy(), threat=hb.Linf(0.6), method=natural, pretrained=True)
    assert len([w for w in said if issubclass(w.category, Note)]) == 1
    assert any(int(t.count_nonzero()) for t in made.artifact.state().values())


@pytest.mark.parametrize(
    ("robust", "classes", "says"),
    [
        (0, 0, "NOT ROBUST: 0.0% under fgsm, whatever"),
        (0, 10, r"NOT ROBUST: 0.0% under fgsm, where a guess is right on 10.0%, whatever"),
        (9, 10, "NOT ROBUST: 9.0%"),
        (10, 10, ""),
        (1, 0, ""),
    ],
)
def test_a_result_below_chance(robust: int, classes: int, says: str) -> None:
    row = Row(
        "a.hbk", 10, 20, "linf:0.1", "fgsm", Proportion(90, 100), Proportion(robust, 100),
        classes=classes,
    )  # fmt: skip
    assert row.weakness.startswith(says) and bool(row.weakness) == bool(says)
    assert Row.from_json(row.json()).weakness == row.weakness
    assert (row.remarks()[-1:] == [row.weakness]) == bool(says)


def test_train_needs_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--data", "digits", "--threat", "linf:0.1"]
    assert "--model digits-cnn, or the file of a trained network" in refused(capsys, *words)


@pytest.mark.slow
def test_train_goes_on_from_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--data", "digits", "--threat", "linf:0.9", *QUICK]
    run("train", *words, "--model", "digits-cnn", "--natural", "--out", "natural")
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("NOT ROBUST: 0.0% under fgsm + checks, where a guess is right on 10.0%")
    run("train", *words, "--from", "natural/model.hbk", "--out", "tuned")
    first, *_, last = capsys.readouterr().err.strip().splitlines()
    assert "it is trained adversarially now" in first and last.startswith("NOT ROBUST")
    state = hb.load("natural/model.hbk").state_dict()
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, "w.pt")
    run("train", *words, "--from", "w.pt", "--model", "digits-cnn", "--lr", "1e-9", "--out", "w")
    tuned = hb.load("w/model.hbk").state_dict()
    assert all(torch.allclose(tuned[k], v, atol=1e-4) for k, v in state.items() if v.ndim > 1)
    run("evaluate", "w/model.hbk", *words[:4], "--attack", "fgsm", "--no-checks", "--json")
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("NOT ROBUST")


def test_noise_has_no_start_to_speak_of() -> None:
    found = StartingPoint.of(
        nn.Sequential(nn.Flatten(), nn.Linear(12, 10)), noise(3, 2, 2), hb.Linf(0.1), CPU
    )
    assert not found.natural
