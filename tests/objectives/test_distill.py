"""A teacher: its formula, what it leaves alone, what it sees, who can be taught."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.contracts.rows import METHODS
from tests.helpers.nets import batch, conv, mlp, normed, toy
from torch import nn
from torch.nn import functional as F

import hauberk as hb
from hauberk.attack import Attack
from hauberk.attacks import PGD
from hauberk.method import Method
from hauberk.objectives import Adversarial, Distilled, Natural, Supervised, Teacher, Trades
from hauberk.problem import Loss, Objective
from hauberk.solvers import ProjectedGradient
from hauberk.threats import Linf
from hauberk.training.augment import Augmentation
from hauberk.training.run import Run
from hauberk.training.stage import Stage

QUICK = {"epochs": 1, "dense_epochs": 1, "batch_size": 32, "attack_steps": 1}


def other() -> nn.Module:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(5, 9), nn.BatchNorm1d(9), nn.Dropout(0.5), nn.Linear(9, 3))


def everyone() -> list[Supervised]:
    return [
        Natural(),
        Adversarial(Linf(0.1), PGD(2)),
        Adversarial(Linf(0.1), PGD(2), clean=0.3, q=0.4),
        Trades(Adversarial(Linf(0.1), PGD(2))),
    ]


@pytest.mark.parametrize(("share", "temperature"), [(1.0, 1.0), (0.7, 2.5)])
def test_the_loss_is_its_formula(share: float, temperature: float) -> None:
    """With an attack that stays put: (1 − s) CE_q + s τ² KL, and the clean share of the same."""
    student, teacher, b = normed().eval(), Teacher(other()), batch()
    still = Adversarial(Linf(0.1), PGD(0, random_start=False), clean=0.25, q=0.3)
    found = Distilled(still, teacher, share, temperature)(student, b).value
    s, t = student(b.x), teacher.net(b.x)
    p = s.softmax(1)[torch.arange(8), b.y]
    kl = F.kl_div(
        (s / temperature).log_softmax(1),
        (t / temperature).log_softmax(1),
        reduction="batchmean",
        log_target=True,
    )
    soft = share * temperature**2 * kl
    robust = (1 - share) * ((1 - p**0.3) / 0.3).mean() + soft
    clean = (1 - share) * F.cross_entropy(s, b.y) + soft
    torch.testing.assert_close(found, 0.75 * robust + 0.25 * clean)


def test_a_student_that_says_what_its_teacher_says_has_nothing_to_learn() -> None:
    student = normed().eval()
    loss = Distilled(Natural(), Teacher(student))(student, batch())
    loss.value.backward()
    assert float(loss.value.detach()) == pytest.approx(0, abs=1e-7)
    assert all(p.grad.abs().max() < 1e-6 for p in student.parameters())


@pytest.mark.parametrize("objective", everyone(), ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("attack", [True, False])
def test_the_teacher_is_left_as_it_was_and_is_in_eval_mode(
    objective: Supervised, attack: bool
) -> None:
    teacher, student = Teacher(other().train()), normed()
    before = {n: t.clone() for n, t in teacher.net.state_dict().items()}
    loss = Distilled(objective, teacher, 0.8, 2.0, attack)(student, batch())
    loss.value.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in student.parameters())
    assert all(p.grad is None and not p.requires_grad for p in teacher.net.parameters())
    assert not any(m.training for m in teacher.net.modules())
    assert all(torch.equal(t, before[n]) for n, t in teacher.net.state_dict().items())
    assert all(m.training for m in student.modules())


@pytest.mark.parametrize("objective", everyone(), ids=lambda o: type(o).__name__)
def test_the_teacher_is_asked_once_a_batch_on_its_clean_images(objective: Supervised) -> None:
    seen = []
    watched = other()
    watched.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    teacher, b = Teacher(watched), batch()
    Distilled(objective, teacher)(normed(), b)
    assert len(seen) == 1 and torch.equal(seen[0], b.x)


def test_the_attack_raises_what_it_is_told_to() -> None:
    student, teacher, b = normed().eval(), Teacher(other()), batch()
    reached = []

    class Note(Attack):
        def search(self, task):
            reached.append(task.loss(task.x))
            return task.x

    for attack in (True, False):
        Distilled(Adversarial(Linf(0.1), Note()), teacher, attack=attack)(student, b)
    s, t = student(b.x).log_softmax(1), teacher(b.x).log_softmax(1)
    torch.testing.assert_close(reached[0], (t.exp() * (t - s)).sum(1))
    torch.testing.assert_close(reached[1], F.cross_entropy(student(b.x), b.y, reduction="none"))


def test_a_copy_is_taught_by_not_the_live_network() -> None:
    live = mlp()
    teacher = Teacher(live)
    with torch.no_grad():
        live[1].weight.zero_()
    assert teacher.net[1].weight.any()
    assert teacher.digest() == Teacher(mlp()).digest() != Teacher(live).digest()


def test_an_objective_without_a_target_cannot_be_taught() -> None:
    class Size(Objective):
        def __call__(self, model, batch):
            return Loss(next(model.parameters()).sum())

    with pytest.raises(ValueError, match=r"A teacher was given for Size, .*; leave the teacher"):
        Distilled(Size(), Teacher(mlp()))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"teacher_fraction": 0.0}, "fraction was given as 0.0"),
        ({"teacher_fraction": 1.1}, "fraction was given as 1.1"),
        ({"temperature": 0.0}, "temperature was given as 0.0"),
        ({"temperature": float("nan")}, "temperature was given as nan"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        hb.ATMC().with_(**settings)


def _each() -> list[Method]:
    kinds = {type(method): method for method, _ in METHODS}
    # RobustnessTarget measures the net before it begins (its own tests distil it); GANSlimming has
    # the dense net as its teacher
    others = (hb.DA, hb.RobustnessTarget, hb.methods.GANSlimming)
    return [method for kind, method in kinds.items() if kind not in others]


def learned() -> nn.Module:
    """Above chance on `toy`, as boosting demands of its first member."""
    net, some = mlp(), toy().train
    optimiser = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(20):
        optimiser.zero_grad()
        F.cross_entropy(net(some.images()), some.y).backward()
        optimiser.step()
    return net.eval()


@pytest.mark.parametrize("method", _each(), ids=lambda m: type(m).__name__)
def test_every_method_takes_a_teacher(method: Method) -> None:
    """Each of its legs, and the network they start from, whatever becomes of it later."""
    start = method.network(learned())
    sample = replace(toy().train, held_out=toy().validation)
    teacher, stages = Teacher(start), list[Stage]()
    legs = method.distilled(method.stages(start, Linf(0.1), sample), teacher)
    for stage in legs:
        stages.append(stage)
        stage.solver.finish(
            stage.problem, start, stage.solver.init(stage.problem, start)
        )  # what a leg of no epochs does
    assert stages
    for stage in stages:
        assert isinstance(stage.problem.objective, Distilled)
        assert stage.problem.objective.teacher is teacher
    assert teacher.digest() == Teacher(method.network(learned())).digest()


def test_self_is_the_dense_network_after_its_training(monkeypatch) -> None:
    asked = []
    taught = Method.distilled

    def watched(self, stages, teacher):
        asked.append(teacher)
        return taught(self, stages, teacher)

    monkeypatch.setattr(Method, "distilled", watched)
    method = hb.AL0(keep=0.3).with_(teacher="self", **QUICK)
    made = hb.compress(mlp(), toy(), method=method, threat=hb.Linf(0.1))
    (teacher,) = asked
    assert teacher.digest() == Teacher(made.dense).digest() != Teacher(mlp()).digest()
    assert {row["stage"] for row in made.history} == {"dense", "sparse"}


def test_a_run_that_teaches_itself_resumes_to_the_same_bits(tmp_path: Path) -> None:
    method = hb.AL0(keep=0.5).with_(teacher="self", **QUICK)
    common = {"method": method, "threat": hb.Linf(0.1), "out": tmp_path}
    first = hb.compress(conv(), toy(), **common)
    (tmp_path / "stage-1.safetensors").unlink()
    again = hb.compress(conv(), toy(), run=Run(resume=True), **common)
    state = first.artifact.state()
    assert all(torch.equal(t, state[n]) for n, t in again.artifact.state().items())


def _shipped(path: Path, model: nn.Module, **about: object) -> Path:
    state = {"input_shape": (1, 6, 6), "classes": 3, "labels": (), "architecture": None, **about}
    hb.Artifact.encode(model.state_dict(), **state).save(path)
    return path


def test_a_teacher_of_another_file_teaches_and_is_part_of_the_run(tmp_path: Path) -> None:
    """A student of uniform labels alone learns what they say, and no run resumes under others."""
    teacher = mlp()
    with torch.no_grad():
        teacher[3].weight.zero_()
        teacher[3].bias.zero_()
    path = _shipped(tmp_path / "teacher.hbk", teacher)
    method = hb.AL0(keep=1.0).with_(teacher=str(path), lr=0.02, **{**QUICK, "epochs": 6})
    common = {"threat": hb.Linf(0.05), "out": tmp_path / "run", "pretrained": True}
    made = hb.compress(mlp(), toy(), method=method, **common)
    spread = made.model(toy().test.images()).softmax(1)
    assert (spread - 1 / 3).abs().max() < 0.1

    again = hb.compress(mlp(), toy(), method=method, run=Run(resume=True), **common)
    assert again.artifact.nbytes == made.artifact.nbytes
    _shipped(path, mlp())
    with pytest.raises(ValueError, match="a run with other teacher"):
        hb.compress(mlp(), toy(), method=method, run=Run(resume=True), **common)


def test_plain_weights_teach_a_network_like_the_students(tmp_path: Path) -> None:
    path = tmp_path / "teacher.pt"
    torch.save(mlp().state_dict(), path)
    method = hb.AL0(keep=0.5).with_(teacher=str(path), teacher_fraction=0.5, **QUICK)
    made = hb.compress(mlp(), toy(), method=method, threat=hb.Linf(0.1), pretrained=True)
    assert made.artifact.nbytes


class Wide(nn.Sequential):
    def __init__(self, pixels: int = 36, classes: int = 4) -> None:
        super().__init__(nn.Flatten(), nn.Linear(pixels, 20), nn.ReLU(), nn.Linear(20, classes))


def test_a_teacher_that_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    def refused(teacher: str, match: str, student: nn.Module | None = None, **more: object) -> None:
        method = hb.AL0(keep=0.5).with_(teacher=teacher, **QUICK)
        with pytest.raises((ValueError, OSError), match=match) as caught:
            model, data = student or mlp(), more.pop("data", toy())
            hb.compress(model, data, method=method, threat=hb.Linf(0.1), **more)
        assert "\n" not in str(caught.value)

    refused(str(tmp_path / "absent.hbk"), "absent.hbk")
    shape = _shipped(
        tmp_path / "shape.hbk",
        hb.models.build("digits-cnn"),
        input_shape=(1, 8, 8),
        architecture=hb.artifact.Architecture("digits-cnn", {}),
        classes=10,
    )
    refused(str(shape), "The teacher cannot take the images of toy")
    path = _shipped(tmp_path / "three.hbk", mlp())
    refused(str(path), "different numbers of outputs", Wide())
    named = hb.Data(**{**vars(toy()), "labels": ("a", "b", "c")})
    swapped = _shipped(tmp_path / "swapped.hbk", mlp(), labels=("b", "a", "c"))
    refused(str(swapped), "knows other classes than toy, or in another order", data=named)


def test_a_network_that_is_not_trained_cannot_teach_itself() -> None:
    method = hb.DA().with_(epochs=1, teacher="self")
    with pytest.raises(ValueError, match=r"self to DA, .* is not trained .*; give the file"):
        hb.compress(mlp(), toy(), method=method, threat=hb.Linf(0.1))
    made = hb.compress(mlp(), toy(), method=method, threat=hb.Linf(0.1), pretrained=True)
    assert made.history[0]["loss"] < 0.5, "it starts at its teacher's own answers"


def test_with_augmentation_the_teacher_sees_what_the_student_sees() -> None:
    seen: dict[str, list[torch.Tensor]] = {"teacher": [], "student": []}
    student, teacher = mlp(), Teacher(mlp())
    teacher.net.register_forward_pre_hook(lambda m, given: seen["teacher"].append(given[0].clone()))
    student.register_forward_pre_hook(lambda m, given: seen["student"].append(given[0].clone()))
    from hauberk.problem import Problem
    from hauberk.training.loop import solve

    problem = Problem(Distilled(Natural(), teacher))
    stage = Stage("one", problem, ProjectedGradient(), 1, 64, Augmentation(2, True))
    assert solve(stage, student, copy.copy(toy()), Run()).ok
    assert len(seen["teacher"]) == len(seen["student"]) > 2
    pairs = zip(seen["teacher"], seen["student"], strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
