"""What ONNX Runtime answers is what counts; the twin only shows an attack where to look."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import onnx
from hauberk.artifact import Artifact
from hauberk.attacks import PGD
from hauberk.data import load
from hauberk.dataset import Examples
from hauberk.evaluation import (
    Effort,
    Evaluation,
    Subject,
    clean,
    latency,
    shipped_file,
    square,
    transferred,
    under_attack,
)
from hauberk.onnx.attackable import Judged, agree
from hauberk.onnx.file import OnnxFile
from hauberk.onnx.session import Session
from hauberk.threats import Linf

pytestmark = pytest.mark.slow

EVALUATION = Evaluation(
    Linf(0.05),
    "linf:0.05",
    {"pgd:3": PGD(3, track=True)},
    limit=60,
    check_limit=20,
    effort=Effort(probe=4, queries=30, rounds=1, learning=20, flips=20),
    seed=1,
)


@pytest.fixture(scope="module")
def twin(honest: nn.Module) -> nn.Module:
    return copy.deepcopy(honest).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def artifact(twin: nn.Module) -> Artifact:
    return Artifact.encode(twin.state_dict(), architecture=None, input_shape=(1, 8, 8), classes=10)


@pytest.fixture(scope="module")
def file(artifact: Artifact, twin: nn.Module) -> OnnxFile:
    return OnnxFile.encode(artifact, twin)


@pytest.fixture(scope="module")
def session(file: OnnxFile) -> Session:
    return Session(file.content)


class Nowhere(nn.Module):
    """A twin that must not be asked."""

    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError


def test_the_session_is_a_module_without_a_gradient(
    session: Session, twin: nn.Module, examples: Examples
) -> None:
    x = examples.images(slice(0, 9)).requires_grad_()
    logits = session(x)
    assert not logits.requires_grad and logits.dtype == torch.float32
    torch.testing.assert_close(logits, twin(x).detach(), atol=1e-4, rtol=1e-5)
    turned = x.detach().contiguous(memory_format=torch.channels_last).double()
    assert torch.equal(session(turned), logits)
    assert copy.deepcopy(session) is session
    assert torch.equal(clean(session, examples), clean(twin, examples))


def test_other_images_get_one_sentence(session: Session) -> None:
    with pytest.raises(ValueError, match=r"^The ONNX file does not run [^\n]+\.$"):
        session(torch.zeros(2, 1, 9, 9))
    with pytest.raises(ValueError, match=r"^x\.onnx is refused by ONNX Runtime [^\n]+\.$"):
        Session(b"no graph", name="x.onnx")


def test_the_judge_is_the_session_and_the_gradient_the_twin_s(
    session: Session, twin: nn.Module, examples: Examples
) -> None:
    steep = nn.Sequential(twin, nn.Linear(10, 10)).requires_grad_(False)
    judged = Judged(session, steep)
    x = examples.images(slice(0, 5)).requires_grad_()
    logits = judged(x)
    assert torch.equal(logits, session(x))
    weights = torch.randn(5, 10)
    (ours,) = torch.autograd.grad((weights * logits).sum(), x)
    (wanted,) = torch.autograd.grad((weights * steep(x)).sum(), x)
    assert torch.equal(ours, wanted) and ours.abs().max() > 0


def test_a_search_without_gradients_asks_the_session_alone(
    session: Session, examples: Examples
) -> None:
    few, blind = examples.first(20), Judged(session, Nowhere())
    threat = Linf(0.1)
    assert torch.equal(clean(blind, few), clean(session, few))
    found = square(Subject.of(blind, few, threat), queries=20)
    assert torch.equal(found, square(Subject.of(session, few, threat), queries=20))
    with pytest.raises(AssertionError):
        blind(few.images().requires_grad_())


def test_session_and_twin_must_agree(session: Session, twin: nn.Module, examples: Examples) -> None:
    agree(session, twin, examples)
    for shift in (0.01, math.nan):
        other = copy.deepcopy(twin)
        other[-1].bias.add_(shift)
        with pytest.raises(ValueError, match=r"^The ONNX file computes different logits [^\n]+\.$"):
            agree(session, other, examples)
    with pytest.raises(ValueError, match="different logits"):
        agree(session, nn.Sequential(twin, nn.Linear(10, 3)), examples)


def test_two_sessions_are_timed_beside_each_other(session: Session, file: OnnxFile) -> None:
    found = latency(session, Session(file.content), (1, 8, 8), repeats=10)
    assert set(found) == {"batch1", "batch64"}
    for timing in found.values():
        assert 0 < timing.p05 <= timing.median <= timing.p95 and timing.dense_median > 0


@pytest.fixture
def pair(artifact: Artifact, file: OnnxFile, tmp_path: Path) -> tuple[Path, Path]:
    """The ``.hbk`` and the ``.onnx`` of the same network."""
    paths = tmp_path / "model.hbk", tmp_path / "model.onnx"
    artifact.save(paths[0])
    file.save(paths[1])
    return paths


def test_the_onnx_is_evaluated_like_the_hbk(pair: tuple[Path, Path], twin: nn.Module) -> None:
    data = load("digits")
    ours, theirs = (
        shipped_file.evaluate_file(shipped_file.read(path, twin), data, EVALUATION) for path in pair
    )
    assert theirs.clean == ours.clean and theirs.clean_split == ours.clean_split
    assert theirs.bytes == pair[1].stat().st_size and theirs.dense_bytes == ours.dense_bytes
    assert theirs.macs == ours.macs
    assert theirs.attack == "pgd:3 + checks"
    assert abs(theirs.attacks["pgd:3"].successes - ours.attacks["pgd:3"].successes) <= 1
    assert abs(theirs.robust.successes - ours.robust.successes) <= 1
    assert {"batch1", "batch64"} == set(theirs.latency_ms)
    assert [c.name for c in theirs.checks] == [c.name for c in ours.checks]
    assert set(theirs.json()) == set(ours.json())


def test_an_example_is_robust_where_it_withstands_both(
    pair: tuple[Path, Path], twin: nn.Module, session: Session
) -> None:
    data = load("digits")
    few = data.test.first(60)
    white = under_attack(
        Subject.of(Judged(session, twin), few, EVALUATION.threat, seed=1), PGD(3, track=True)
    )
    black = square(Subject.of(session, few, EVALUATION.threat, seed=1), queries=30)
    row = shipped_file.evaluate_file(shipped_file.read(pair[1], twin), data, EVALUATION)
    assert row.attacks["pgd:3"].successes == int(white.sum())
    assert row.robust.successes <= int((white & black).sum()) < row.clean.successes
    assert row.taken["pgd:3"].count == row.clean.successes - int(white.sum())


def test_what_is_transferred_from_the_dense_net_counts(
    pair: tuple[Path, Path], twin: nn.Module, session: Session
) -> None:
    data = load("digits")
    row = shipped_file.evaluate_file(
        shipped_file.read(pair[1], twin), data, EVALUATION, source=twin
    )
    few = data.test.first(20)
    moved = transferred(Subject.of(session, few, EVALUATION.threat, seed=1), twin)
    assert int(moved.sum()) > 0 and row.taken["transfer"].tried <= 20
    assert row.robust.successes <= row.attacks["pgd:3"].successes


def test_a_net_of_nobody_s_needs_no_module(pair: tuple[Path, Path]) -> None:
    """The graph says all; only the dense net to time beside is missing."""
    row = shipped_file.evaluate_file(shipped_file.read(pair[1]), load("digits"), EVALUATION)
    assert row.attack == "pgd:3 + checks" and not row.latency_ms and row.macs is not None


def test_a_changed_file_is_refused(file: OnnxFile, tmp_path: Path) -> None:
    model = onnx.load_model_from_string(file.content)
    (tensor,) = (t for t in model.graph.initializer if list(t.dims) == [10])
    tensor.raw_data = bytes(len(tensor.raw_data))
    path = tmp_path / "edited.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    with pytest.raises(ValueError, match=r"edited\.onnx was damaged or changed[^\n]+\.$"):
        shipped_file.evaluate_file(shipped_file.read(path), load("digits"), EVALUATION)


def test_data_of_another_shape_is_refused(tmp_path: Path) -> None:
    """A net that takes images of any size in torch takes one size as ONNX."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    artifact = Artifact.encode(
        net.state_dict(), architecture=None, input_shape=(1, 9, 9), classes=10
    )
    OnnxFile.encode(artifact, net).save(tmp_path / "any.onnx")
    with pytest.raises(ValueError, match="takes images of 1 × 9 × 9"):
        shipped_file.evaluate_file(
            shipped_file.read(tmp_path / "any.onnx", net), load("digits"), EVALUATION
        )
