"""Several threats, weighed: its formula, its laws, what it remembers, who takes it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from tests.contracts.rows import METHODS, UNDER_A_UNION
from tests.helpers.nets import batch, mlp, normed, toy
from torch.nn import functional as F

import hauberk as hb
from hauberk.attack import Attack
from hauberk.attacks import PGD
from hauberk.batch import Batch, WarmStart
from hauberk.dataset import Data
from hauberk.method import Method
from hauberk.objectives import (
    AVERAGE,
    WORST,
    Adversarial,
    Audit,
    Distilled,
    PerExampleWeights,
    SharedWeights,
    Teacher,
    Weighting,
)
from hauberk.objectives.supervised import Hard
from hauberk.ops.simplex import ascend, project_simplex
from hauberk.problem import Problem
from hauberk.runtime.processes import Group
from hauberk.solvers import Descent, ProjectedGradient
from hauberk.threats import L1, L2, Linf, Union
from hauberk.training.loop import solve
from hauberk.training.run import Run, Watcher
from hauberk.training.stage import Stage

THREE = Union((Linf(0.1), L2(0.3), L1(0.5)))
QUICK = {"epochs": 1, "dense_epochs": 1, "batch_size": 32, "attack_steps": 1}


class Fixed(Attack):
    """Adds the threat's radius to every pixel."""

    def search(self, task):
        return task.x + task.threat.radius()


class Still(Attack):
    """Finds nothing, wherever it starts."""

    def search(self, task):
        return task.x


def objective(weighting: Weighting, attack: Attack | None = None, **more: float) -> Adversarial:
    return Adversarial(THREE, attack or Fixed(), **more, weighting=weighting)


def losses_of(model: torch.nn.Module, b: Batch) -> torch.Tensor:
    each = [Fixed()(lambda z: z.sum(1), b.x, part, b.rng) for part in THREE.parts()]
    return torch.stack([F.cross_entropy(model(x), b.y, reduction="none") for x in each], 1)


@pytest.mark.parametrize(
    "weighting", [SharedWeights(), PerExampleWeights(0.5), AVERAGE, WORST], ids=str
)
def test_the_value_is_its_formula(weighting: Weighting) -> None:
    model, b = normed().eval(), batch()
    losses = losses_of(model, b)
    loss = objective(weighting, clean=0.25)(model, b)
    expected = {
        SharedWeights(): losses.mean(),
        AVERAGE: losses.mean(),
        WORST: losses.amax(1).mean(),
        PerExampleWeights(0.5): (project_simplex(1 / 3 + losses / 0.5) * losses).sum(1).mean(),
    }[weighting]
    clean = F.cross_entropy(model(b.x), b.y)
    torch.testing.assert_close(loss.value, 0.75 * expected + 0.25 * clean)
    loss.value.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    weights = [float(loss.metrics[f"weight_{n}"]) for n in ("linf", "l2", "l1")]
    assert sum(weights) == pytest.approx(1)
    right = [float(loss.metrics[f"robust_{n}"]) for n in ("linf", "l2", "l1")]
    assert float(loss.metrics["robust"]) <= min(right)
    assert all(v.ndim == 0 and not v.requires_grad for v in loss.metrics.values())


def test_equal_losses_keep_the_shared_weights_equal() -> None:
    """Three threats of radius 0 are one domain three times."""
    same = Adversarial(THREE.scaled(0.0), PGD(1), weighting=SharedWeights(0.7, 0.0))
    memory = same.memory()
    for _ in range(5):
        b = batch()
        same(normed().eval(), Batch(b.x, b.y, b.rng, memory=memory))
    torch.testing.assert_close(memory["weights"], torch.full((3,), 1 / 3))


def test_the_shared_weights_ascend_to_the_worst_and_gamma_holds_them() -> None:
    model, b = normed().eval(), batch()
    worst = int(losses_of(model, b).mean(0).argmax())
    for rate, gamma, expected in ((1e6, 0.0, 1.0), (1.0, 1e9, 1 / 3)):
        told = objective(SharedWeights(rate, gamma))
        memory = told.memory()
        for step in range(2):
            loss = told(model, Batch(b.x, b.y, b.rng, memory=memory))
            if step == 0:
                assert float(loss.metrics["weight_l2"]) == pytest.approx(1 / 3), "it starts equal"
        assert float(memory["weights"][worst]) == pytest.approx(expected, abs=1e-5)


def test_what_is_held_weighs_the_next_step() -> None:
    model, b = normed().eval(), batch()
    memory = {"weights": torch.tensor([0.0, 1.0, 0.0])}
    loss = objective(SharedWeights())(model, Batch(b.x, b.y, b.rng, memory=memory))
    torch.testing.assert_close(loss.value, losses_of(model, b)[:, 1].mean())
    assert not memory["weights"].equal(torch.tensor([0.0, 1.0, 0.0])), "no step was made"


def test_the_share_of_a_process_counts_by_its_rows() -> None:
    """Two processes that hold 3 and 5 rows step as one that holds all."""
    model, b = normed().eval(), batch()

    class Pair(Group):
        def mean(self, metrics, share):
            whole = losses_of(model, batch()).mean(0)
            return {name: whole[int(name)].detach() for name in metrics}

    alone, told = objective(SharedWeights(0.5)).memory(), objective(SharedWeights(0.5))
    together = copy.deepcopy(alone)
    told(model, Batch(b.x, b.y, b.rng, memory=alone))
    few = Batch(b.x[:3], b.y[:3], batch().rng, memory=together, group=Pair(), fraction=3 / 8)
    told(model, few)
    torch.testing.assert_close(alone["weights"], together["weights"])


def audited(every: int = 2, rate: float = 0.5) -> Adversarial:
    """Its own attack stays where it is, and the audit's goes all the way."""
    return Adversarial(
        THREE, Still(), weighting=SharedWeights(rate, 0.0), audit=Audit(every, Fixed())
    )


def test_an_audit_is_made_every_so_often_and_never_where_nothing_is_trained() -> None:
    def due(every: int, step: int | None) -> bool:
        b = batch()
        return Audit(every).due(Batch(b.x, b.y, b.rng, step=step), threats=3)

    assert [due(3, step) for step in range(7)] == [True, False, False, True, False, False, True]
    assert not any(due(0, step) for step in range(7))
    assert not due(1, None)
    assert "missed" not in audited(every=0).memory()


def test_an_audited_batch_is_trained_on_what_the_longer_search_found() -> None:
    model, b, told = normed().eval(), batch(), audited()
    clean = F.cross_entropy(model(b.x), b.y, reduction="none")[:, None].expand(-1, 3)
    worse = torch.maximum(losses_of(model, b), clean)
    assert bool((worse > clean).any()) and bool((worse == clean).any())
    ends = torch.zeros(24, 5, dtype=torch.float16)
    warm_start = WarmStart(ends, torch.arange(8))
    memory = told.memory()
    loss = told(model, Batch(b.x, b.y, b.rng, warm_start=warm_start, memory=memory, step=4))
    torch.testing.assert_close(loss.value, worse.mean())
    torch.testing.assert_close(memory["missed"], (worse - clean).mean(0).detach())
    moved = ends.view(3, 8, 5).any(2).T
    assert torch.equal(moved, worse > clean), "attacks go on where it ended"


def test_what_an_audit_missed_moves_the_weights_until_the_next_one() -> None:
    model, b, told = normed().eval(), batch(), audited()
    clean = F.cross_entropy(model(b.x), b.y).detach()
    memory = told.memory()
    told(model, Batch(b.x, b.y, b.rng, memory=memory, step=0))
    held, missed = memory["weights"].clone(), memory["missed"].clone()
    assert missed.unique().numel() == 3
    torch.testing.assert_close(held, ascend(torch.full((3,), 1 / 3), clean + missed, 0.5, 0.0))
    told(model, Batch(b.x, b.y, b.rng, memory=memory, step=1))
    torch.testing.assert_close(memory["weights"], ascend(held, clean + missed, 0.5, 0.0))
    assert torch.equal(memory["missed"], missed)


def test_what_an_audit_missed_is_averaged_by_the_rows_of_each_process() -> None:
    """Two processes of 3 and 5 rows keep what one that has all of them keeps."""
    model, b = normed().eval(), batch()
    told = audited()
    alone, total = told.memory(), torch.zeros(3)
    told(model, Batch(b.x, b.y, b.rng, memory=alone, step=0))

    class Share(Group):
        """What a process would send is left in its memory."""

        def mean(self, metrics, share):
            return {name: value * share for name, value in metrics.items()}

    for part, share in ((slice(0, 3), 3 / 8), (slice(3, 8), 5 / 8)):
        own = Batch(b.x[part], b.y[part], batch().rng, memory=told.memory(), group=Share(),
                    fraction=share, step=0)  # fmt: skip
        told.attacked(model, own, Hard(own.y))
        total += own.memory["missed"]
    torch.testing.assert_close(total, alone["missed"])


def test_each_threat_has_its_own_last_ends() -> None:
    starts: list[tuple[str, torch.Tensor]] = []

    class Note(Attack):
        def search(self, task):
            starts.append((task.threat.name, task.start - task.x))
            return task.threat.project(
                task.x + 0.02 * (1 + ("linf", "l2").index(task.threat.name)), task.x
            )

    two = Union((Linf(0.5), L2(5.0)))
    problem = Problem(Adversarial(two, Note(), audit=Audit(0)))
    stage = Stage("s", problem, ProjectedGradient(Descent(lr=1e-3)), 2, 256, reuse=True)
    data = toy()
    assert solve(stage, mlp(), Data("t", data.train, data.train.first(0), data.test, 3), Run()).ok
    assert [name for name, _ in starts] == ["linf", "l2", "linf", "l2"]
    free = toy().train.images() < 0.9
    for (name, moved), length in zip(starts[2:], (0.02, 0.04), strict=True):
        assert moved.amax() == pytest.approx(length, abs=1e-3), name
        assert (moved > 0).sum() >= free.sum()
    assert all(moved.flatten(1).any(1).all() for _, moved in starts[:2]), "they begin anywhere"


@pytest.mark.slow
def test_a_stopped_run_resumes_to_the_same_bits_with_its_weights(tmp_path: Path) -> None:
    """Killed in mid-stage: the checkpoint holds the weights and each threat's ends."""
    method = hb.ATMC(keep=0.5, codebook_epochs=0).with_(
        reuse=True, gamma=0.1, weight_rate=0.5, **{**QUICK, "epochs": 4}
    )
    whole = hb.compress(mlp(), toy(), method=method, threat=THREE, out=tmp_path / "whole")

    class Stop(Exception):
        pass

    class Watch(Watcher):
        def epoch(self, row):
            if row["stage"] == "sparse" and row["epoch"] == 3:
                raise Stop

    common = {"method": method, "threat": THREE, "out": tmp_path / "stopped"}
    with pytest.raises(Stop):
        hb.compress(mlp(), toy(), run=Run(watcher=Watch()), **common)
    again = hb.compress(mlp(), toy(), run=Run(resume=True), **common)
    assert again.history == whole.history
    state = whole.artifact.state()
    assert all(torch.equal(t, state[n]) for n, t in again.artifact.state().items())
    weights = [row["weight_linf"] for row in whole.history]
    assert len(set(weights)) == len(weights), "the weights never moved"


def _remembers(method: Method) -> bool:
    return (
        bool(method.threat_weighting.audit) or method.threat_weighting.threat_weights == "min-max"
    )


def _each() -> list[Method]:
    return list({type(method): method for method, _ in METHODS + UNDER_A_UNION}.values())


@pytest.mark.parametrize("method", _each(), ids=lambda m: type(m).__name__)
def test_every_method_weighs_a_union_and_no_other_threat(method: Method) -> None:
    natural = type(method) is hb.NAP
    alone = method.with_(threat_weights="min-max")  # of one threat nothing else can be asked
    for of, threat, count in ((method, THREE, 3), (alone, Linf(0.1), 1)):
        found = of.objective(threat, 0.3)
        assert found.searches() == (1 if natural else count)
        assert bool(found.memory()) == (count > 1 and not natural and _remembers(method))
    if method.threat_weighting.threat_weights == "min-max":
        given = method.threat_weighting
        assert given.strategy() == SharedWeights(given.weight_rate, given.gamma)


def test_the_strategies_are_values() -> None:
    assert hb.DA().with_(threat_weights="average").threat_weighting.strategy() is AVERAGE
    assert hb.DA().with_(threat_weights="max").threat_weighting.strategy() is WORST
    assert hb.DA().with_(
        per_sample=True, gamma=0.3
    ).threat_weighting.strategy() == PerExampleWeights(0.3)


def test_a_teacher_teaches_under_a_union() -> None:
    taught = Distilled(objective(SharedWeights()), Teacher(normed()))
    assert taught.searches() == 3 and taught.memory()["weights"].shape == (3,)
    b = batch()
    memory = taught.memory()
    taught(normed(), Batch(b.x, b.y, b.rng, memory=memory)).value.backward()
    assert not memory["weights"].equal(taught.memory()["weights"])


@pytest.mark.parametrize("weighting", [SharedWeights(), PerExampleWeights(), AVERAGE], ids=str)
def test_a_single_threat_has_weight_one_and_no_audit(weighting: Weighting) -> None:
    alone = Adversarial(Linf(0.1), Fixed(), q=0.3, weighting=weighting, audit=Audit(1, Still()))
    model, b = normed().eval(), batch()
    loss = alone(model, Batch(b.x, b.y, b.rng, memory=alone.memory(), step=0))
    x_adv = Fixed()(lambda z: z.sum(1), b.x, Linf(0.1), b.rng)
    assert torch.equal(loss.value, Hard(b.y).loss(model(x_adv), 0.3))
    assert set(loss.metrics) == {"robust"} and not alone.memory()


@pytest.mark.parametrize(
    "settings",
    [
        {"gamma": 3.0},
        {"threat_weights": "average"},
        {"audit": 0},
        {"weight_rate": 1.0},
        {"per_sample": True},
    ],
)
def test_what_weighs_several_threats_is_refused_beside_one(settings: dict) -> None:
    method = hb.ATMC(keep=0.5).with_(**settings)
    (name,) = settings
    assert method.objective(THREE)
    with pytest.raises(ValueError, match=f"{name} was given as .*about several threats"):
        hb.compress(mlp(), toy(), method=method, threat=Linf(0.1))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"gamma": -0.1}, "gamma was given as -0.1; give 0"),
        ({"weight_rate": 0.0}, "rate of the weights was given as 0.0"),
        ({"audit": -1}, "audit was given as -1; give 0"),
        (
            {"threat_weights": "median"},
            "threat_weights was given as 'median'; give one of min-max, average, max",
        ),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        hb.DA().with_(**settings)
