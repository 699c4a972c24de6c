"""Certified accuracy beside attacks: it is never above them, and a contradiction is loud."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from tests.helpers.command import refused, run
from tests.helpers.nets import mlp, toy

import hauberk as hb
from hauberk.bounds import Network
from hauberk.bounds.certify import BOUNDS
from hauberk.evaluation import Subject
from hauberk.evaluation.accuracy import silent, under_attack
from hauberk.evaluation.certified import Certified, Contradiction


@pytest.fixture(scope="module")
def subject() -> Subject:
    method = hb.DA().with_(epochs=4, batch_size=32, lr=0.02)
    net = hb.train(mlp(), toy(), threat=hb.Linf(0.05), method=method).model
    return Subject.of(net, toy().test, hb.Linf(0.03))


@pytest.mark.parametrize("bound", BOUNDS)
def test_no_certified_image_is_fooled(bound: str, subject: Subject) -> None:
    robust = under_attack(subject, hb.PGD(20))
    network = Network.of(subject.model, subject.examples.shape)
    found = Certified.of(bound, network, subject, robust, silent)
    assert 0 < found.result.successes <= int(robust.sum())
    assert sum(found.by.values()) == found.result.successes
    assert Certified.from_json(found.json()) == found
    assert "Certified: " in found.sentence() and "\n" not in found.sentence()


def test_a_contradiction_ends_the_evaluation(subject: Subject) -> None:
    network = Network.of(subject.model, subject.examples.shape)
    nothing = torch.zeros(len(subject.examples), dtype=torch.bool)
    near = dataclasses.replace(subject, threat=hb.Linf(1e-4))
    with pytest.raises(Contradiction, match="certified by interval and fooled"):
        Certified.of("interval", network, near, nothing, silent)


@pytest.mark.slow
def test_evaluate_certifies_beside_its_attacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    method = hb.DA().with_(epochs=6, batch_size=32, lr=0.02, certified=1.0, clean=0.5)
    net = hb.models.build("ensemble:2xdigits-cnn")
    digits = hb.data.load("digits")
    few = dataclasses.replace(digits, train=digits.train.first(300))
    hb.train(net, few, threat=hb.Linf(0.01), method=method, out=tmp_path)
    words = ["--data", "digits", "--threat", "linf:0.005", "--limit", "20", "--attack", "pgd:3"]
    run("evaluate", str(tmp_path / "model.hbk"), *words, "--certify", "interval", "--json")
    row = json.loads(capsys.readouterr().out)
    assert row["certified"]["bound"] == "interval" and row["activations"] > 4 * 64
    assert row["certified"]["result"]["accuracy"] <= row["robust"]["accuracy"]
    assert "give one of interval, crown" in refused(
        capsys, "evaluate", str(tmp_path / "model.hbk"), *words, "--certify", "ibp"
    )


@pytest.mark.slow
def test_exits_stand_in_the_report() -> None:
    net = hb.models.build("ensemble:2xdigits-cnn").eval()
    digits = hb.data.load("digits")
    net.limit(net.seen_spreads(digits.validation.images()))
    report = hb.evaluate(net, digits, threat=hb.Linf(0.05), attack="pgd:2", limit=10)
    (row,) = report.rows
    assert row.exits is not None and row.exits.changed == 0
    assert row.exits.clean <= row.exits.full
    assert any(sentence.startswith("Early exits need") for sentence in row.remarks())
    again = type(row).from_json(row.json())
    assert (again.exits, again.activations) == (row.exits, row.activations)
