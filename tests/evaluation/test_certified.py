"""Certified accuracy beside attacks: it is never above them, and a contradiction is loud."""

from __future__ import annotations

import dataclasses

import pytest
import torch
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
