"""Rounding must not pass for robustness: checks find masking out, and the twin sees through it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hauberk.artifact import Artifact
from hauberk.attacks import PGD
from hauberk.data import load
from hauberk.dataset import Examples
from hauberk.evaluation import (
    Effort,
    Evaluation,
    Subject,
    clean,
    run_checks,
    shipped_file,
    under_attack,
)
from hauberk.onnx.attackable import Judged
from hauberk.onnx.file import OnnxFile
from hauberk.onnx.session import Session
from hauberk.threats import Linf

pytestmark = pytest.mark.slow

THREAT = Linf(0.15)


class Hard(nn.Module):
    """Activations in steps of a quarter, whose derivative is zero wherever it exists."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.round(4 * x) / 4


@pytest.fixture(scope="module")
def masked(honest: nn.Module) -> nn.Module:
    """The honest net, its first activations hard-quantised."""
    layers = list(copy.deepcopy(honest).eval().requires_grad_(False))
    return nn.Sequential(*layers[:3], Hard(), *layers[3:])


@pytest.fixture(scope="module")
def file(masked: nn.Module) -> OnnxFile:
    artifact = Artifact.encode(
        masked.state_dict(), architecture=None, input_shape=(1, 8, 8), classes=10
    )
    return OnnxFile.encode(artifact, masked)


LITTLE = Effort(probe=10, small=100, queries=100, rounds=1, learning=50, flips=100)


def share(mask: Tensor) -> float:
    return float(mask.double().mean())


def test_the_checks_find_out_a_masked_net(
    masked: nn.Module, honest: nn.Module, examples: Examples
) -> None:
    few = examples.first(60)
    verdicts = {
        c.name: c.passed
        for c in run_checks(Subject.of(masked, few, THREAT), source=honest, effort=LITTLE)
    }
    assert verdicts["gradients"] is False
    assert verdicts["straight_through"] is False
    assert verdicts["gap"] is False
    assert verdicts["large_radius"] is False


def test_the_deployed_file_is_attacked_through_its_rounding(
    masked: nn.Module, file: OnnxFile, examples: Examples
) -> None:
    few = examples.first(150)
    fooled = under_attack(Subject.of(masked, few, THREAT), PGD(20, track=True))
    judged = Judged(Session(file.content), file.twin())
    seen = under_attack(Subject.of(judged, few, THREAT), PGD(20, track=True))
    assert share(clean(judged, few)) > 0.8
    assert share(fooled) > share(seen) + 0.3, (share(fooled), share(seen))


def test_eight_bits_are_proved_like_floats(honest: nn.Module, tmp_path: Path) -> None:
    """White box on the twin, transfer, Square; the row is the worst of them, and no check fails."""
    net, data = copy.deepcopy(honest).eval(), load("digits")
    artifact = Artifact.encode(
        net.state_dict(), architecture=None, input_shape=(1, 8, 8), classes=10
    )
    images = data.train.first(300).images()
    OnnxFile.encode_int8(artifact, net, images).save(tmp_path / "net.onnx")
    OnnxFile.encode(artifact, net).save(tmp_path / "float.onnx")
    evaluation = Evaluation(
        Linf(0.05), "linf:0.05", {"pgd:10": PGD(10, track=True)},
        limit=100, check_limit=60, effort=LITTLE,
    )  # fmt: skip
    rows = [
        shipped_file.evaluate_file(
            shipped_file.read(tmp_path / f"{name}.onnx"), data, evaluation, source=net
        )
        for name in ("net", "float")
    ]
    assert rows[0].attack == "pgd:10 + checks"
    assert abs(rows[0].robust.accuracy - rows[1].robust.accuracy) <= 0.05
    assert abs(rows[0].clean.accuracy - rows[1].clean.accuracy) <= 0.02
    assert rows[0].robust.successes <= rows[0].attacks["pgd:10"].successes
    assert {c.name: c.passed for c in rows[0].checks}["gradients"] is True
