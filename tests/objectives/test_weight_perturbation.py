"""Adversarial weight perturbation: its formula, what it leaves alone, what it joins."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from tests.helpers.nets import batch, mlp, normed, toy
from torch import Tensor, nn
from torch.nn import functional as F

import hauberk as hb
from hauberk.attacks import PGD
from hauberk.objectives import (
    Adversarial,
    Distilled,
    Natural,
    SharedWeights,
    Supervised,
    Teacher,
    Trades,
    WeightPerturbed,
)
from hauberk.parametrize import factorise
from hauberk.problem import Problem
from hauberk.solvers import ProjectedGradient
from hauberk.threats import L2, Linf, Union
from hauberk.training.run import Run
from hauberk.training.stage import Stage

GAMMA = 0.02


def perturbed(objective: Supervised, gamma: float = GAMMA) -> WeightPerturbed:
    return WeightPerturbed(objective, gamma)


def grads(model: nn.Module, value: Tensor) -> dict[str, Tensor]:
    names, tensors = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(value, tensors), strict=True))


def moved(model: nn.Module, gamma: float) -> nn.Module:
    """The formula, by hand: each weight tensor at the end of its ball, vectors where they are."""
    b, there = batch(), copy.deepcopy(model)
    up = grads(model, F.cross_entropy(model(b.x), b.y))
    with torch.no_grad():
        for name, p in there.named_parameters():
            if p.ndim > 1:
                p += gamma * p.norm() * up[name] / up[name].norm()
    return there


def test_value_and_gradient_are_those_at_the_perturbed_weights() -> None:
    model, b = normed().eval(), batch()
    there = moved(model, GAMMA)
    expected = F.cross_entropy(there(b.x), b.y)
    found = perturbed(Natural())(model, b).value
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(grads(model, found), grads(there, expected))
    assert found > Natural()(model, b).value


def test_a_zero_stays_zero_and_the_rest_goes_all_the_way(monkeypatch) -> None:
    model, b, seen = normed().eval(), batch(), []
    with torch.no_grad():
        model[0].weight[::2] = 0
    call = torch.func.functional_call
    monkeypatch.setattr(
        "hauberk.objectives.weight_perturbation.functional_call",
        lambda m, tensors, x: seen.append(tensors) or call(m, tensors, x),
    )
    perturbed(Natural())(model, b)
    w, away = model[0].weight.detach(), seen[-1]["0.weight"].detach()
    assert torch.equal(away[::2], w[::2])
    assert float((away - w).norm() / w.norm()) == pytest.approx(GAMMA, rel=1e-5)
    assert "0.bias" not in seen[-1]


def test_without_a_gradient_nothing_moves() -> None:
    model = normed().eval()
    with torch.no_grad():
        found = perturbed(Adversarial(Linf(0.1), PGD(2)))(model, batch())
        plain = Adversarial(Linf(0.1), PGD(2))(model, batch())
    assert torch.equal(found.value, plain.value)


def test_where_the_loss_is_flat_nothing_moves() -> None:
    model = normed().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    found = perturbed(Natural())(model, batch())
    assert float(found.value.detach()) == pytest.approx(float(torch.tensor(3.0).log()))


@pytest.mark.parametrize(
    "objective",
    [
        Natural(),
        Adversarial(Linf(0.1), PGD(2), clean=0.3, q=0.4),
        Trades(Adversarial(Linf(0.1), PGD(2))),
        Adversarial(Union((Linf(0.1), L2(0.5))), PGD(2), weighting=SharedWeights(0.5, 0.1)),
        Distilled(Natural(), Teacher(normed()), 0.5),
    ],
    ids=lambda o: type(o).__name__,
)
def test_attacks_see_the_weights_unmoved_and_memories_move_once(objective) -> None:
    """Statistics, the weights of several threats, the random numbers: all as without it."""

    def one(objective: hb.problem.Objective) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        model, memory = normed(), objective.memory()
        b = batch()
        b = hb.batch.Batch(b.x, b.y, b.rng, memory=memory)
        objective(model, b).value.backward()
        return dict(model.named_buffers()), memory, b.rng.get_state()

    if isinstance(objective, Distilled):
        inner = Distilled(perturbed(objective.objective, 1e-9), objective.teacher, 0.5)
    else:
        inner = perturbed(objective, 1e-9)
    assert inner.searches() == objective.searches()
    torch.testing.assert_close(one(inner), one(objective))
    far = inner if isinstance(objective, Distilled) else perturbed(objective, 0.5)
    buffers, memory, state = one(far)
    assert int(buffers["1.num_batches_tracked"]) in (1, 2)
    assert torch.equal(state, one(objective)[2])
    assert memory.keys() == objective.memory().keys()


def test_factors_are_perturbed_as_what_is_trained() -> None:
    model = factorise(normed(), 2)
    loss = perturbed(Adversarial(Linf(0.1), PGD(1)))(model, batch())
    loss.value.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.slow
def test_a_stage_trains_with_it_and_resumes_to_the_same_bits(tmp_path) -> None:
    quick = {"epochs": 2, "dense_epochs": 1, "batch_size": 32, "attack_steps": 1, "reuse": True}
    method = hb.AL0(keep=0.5).with_(awp=0.01, teacher="self", **quick)
    common = {"method": method, "threat": hb.Linf(0.1), "out": tmp_path}
    first = hb.compress(mlp(), toy(), **common)
    (tmp_path / "stage-1.safetensors").unlink()
    again = hb.compress(mlp(), toy(), run=Run(resume=True), **common)
    state = first.artifact.state()
    assert all(torch.equal(t, state[n]) for n, t in again.artifact.state().items())
    plain = hb.compress(
        mlp(), toy(), method=hb.AL0(keep=0.5).with_(teacher="self", **quick), threat=hb.Linf(0.1)
    )
    assert not all(torch.equal(t, state[n]) for n, t in plain.artifact.state().items())


@pytest.mark.slow
def test_flatter_minima_lose_less_to_noise_in_the_weights() -> None:
    """What it is for: after training with it, random moves of the weights cost less."""

    def trained(objective: hb.problem.Objective) -> float:
        from hauberk.training.loop import solve

        model = mlp()
        stage = Stage("one", Problem(objective), ProjectedGradient(), 12, 32)
        assert solve(stage, model, toy(), Run()).ok
        data, costs = toy().train, list[float]()
        with torch.no_grad():
            base = F.cross_entropy(model(data.images()), data.y)
            for seed in range(8):
                there = copy.deepcopy(model)
                rng = torch.Generator().manual_seed(seed)
                for p in there.parameters():
                    noise = torch.randn(p.shape, generator=rng)
                    p += 0.3 * p.norm() * noise / noise.norm()
                costs.append(float(F.cross_entropy(there(data.images()), data.y) - base))
        return sum(costs)

    assert trained(perturbed(Natural(), 0.1)) < trained(Natural())


@pytest.mark.parametrize("gamma", [-0.1, 1.0, float("nan"), float("inf")])
def test_a_share_that_means_nothing_is_refused(gamma: float) -> None:
    for make in (lambda: WeightPerturbed(Natural(), gamma), lambda: hb.ATMC().with_(awp=gamma)):
        with pytest.raises(ValueError, match=r"perturbation was given as .*; give a fraction"):
            make()


def test_natural_training_takes_it_too() -> None:
    for method in (hb.NAP().with_(awp=0.01), hb.ADMMPruning().with_(natural=True, awp=0.01)):
        objective = method.objective(Linf(0.1))
        assert isinstance(objective, WeightPerturbed) and objective.objective == Natural()
    assert list(itertools.islice(hb.DA().with_(awp=0.01).stages(mlp(), Linf(0.1), toy().train), 1))
