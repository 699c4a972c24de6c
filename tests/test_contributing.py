"""The examples of CONTRIBUTING.md are code: each is run, and put through its role's law."""

import re
import sys
import types
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import hauberk as hb
from hauberk.problem import Bound, Problem
from hauberk.training.loop import solve
from hauberk.training.run import Run
from hauberk.training.stage import Stage
from tests.contracts.rows import Box
from tests.helpers.nets import mlp, toy
from tests.helpers.qp import Point, Quadratic, kkt, no_data

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.S)


@pytest.fixture(scope="module")
def made() -> dict[str, object]:
    names: dict[str, object] = {}
    for number, code in enumerate(BLOCKS):
        module = types.ModuleType(f"contributing_{number}")
        sys.modules[module.__name__] = module  # dataclasses look their own module up
        exec(compile(code, f"CONTRIBUTING.md, block {number + 1}", "exec"), module.__dict__)
        names |= {k: v for k, v in vars(module).items() if not k.startswith("_")}
    return names


def test_each_example_is_about_forty_lines() -> None:
    assert len(BLOCKS) == 8
    assert all(15 <= block.count("\n") <= 50 for block in BLOCKS)


def test_the_constraint(made: dict[str, object]) -> None:
    constraint = made["NonNegative"]()
    w = {"a": torch.tensor([-1.0, 0.5]), "b": torch.tensor([[2.0, -3.0]])}
    once = constraint.project(w)
    assert once["a"].tolist() == [0.0, 0.5] and once["b"].tolist() == [[2.0, 0.0]]
    assert constraint.size_bits(once) <= constraint.budget_bits(w)
    with pytest.raises(ValueError):
        made["NonNegative"](-1.0)


def test_the_attack(made: dict[str, object]) -> None:
    net = mlp().eval()
    x, y = toy().test.images(), toy().test.y

    def loss(z: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(net(z), y, reduction="none")

    x_adv = made["Noise"]()(loss, x, hb.Linf(0.1), torch.Generator().manual_seed(0))
    assert hb.Linf(0.1).contains(x_adv, x)
    assert (loss(x_adv) >= loss(x) - 1e-6).all() and loss(x_adv).mean() > loss(x).mean()


def test_the_threat(made: dict[str, object]) -> None:
    threat, x = made["TopRows"](0.2), toy().test.images()
    x_adv = threat.sample(x, torch.Generator().manual_seed(0))
    assert threat.contains(x_adv, x) and not torch.equal(x_adv, x)
    assert torch.equal(threat.project(x_adv, x), x_adv)
    below = torch.cat([x[:, :, :2], 1 - x[:, :, 2:]], 2)
    assert not threat.inside(below, x).any() and torch.equal(threat.project(below, x), x)
    net = mlp().eval()

    def loss(z: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(net(z), toy().test.y, reduction="none")

    found = hb.PGD(5)(loss, x, threat, torch.Generator().manual_seed(0))
    assert threat.contains(found, x) and loss(found).mean() > loss(x).mean()


def test_the_penalty(made: dict[str, object]) -> None:
    penalty, w = made["Ridge"](0.7), {"a": torch.tensor([1.0, -2.0])}
    near = penalty.prox(w, 0.5)

    def cost(v: torch.Tensor) -> float:
        return float(0.5 * penalty.value({"a": v}) + 0.5 * (v - w["a"]).square().sum())

    for shift in (0.01, -0.01):
        assert cost(near["a"]) < cost(near["a"] + shift)


def test_the_objective_trains_on_data_and_a_model_of_ones_own(made: dict[str, object]) -> None:
    data = hb.data.load(made["splits"])
    objective = made["Consistent"](hb.Linf(0.05))
    stage = Stage("dense", Problem(objective), hb.solvers.ProjectedGradient(), 3, 32)
    solution = solve(stage, made["net"](), data, Run())
    assert solution.ok and solution.history[-1]["clean"] > 0.5


def test_the_solver(made: dict[str, object]) -> None:
    solver = made["QuadraticPenalty"](50.0, hb.solvers.Descent(lr=0.05, average=0.0, clip=100.0))
    model, problem = Point(), Problem(Quadratic(), {"box": Box(0.5)})
    assert solve(Stage("qp", problem, solver, 60, 8), model, no_data(), Run()).ok
    torch.testing.assert_close(model.w.detach(), kkt(), atol=0.05, rtol=0)
    bound = Bound(lambda m, b: m.w.sum(), lambda m: 0.0, 1.0)
    with pytest.raises(ValueError, match="bounds"):
        solver.init(Problem(Quadratic(), bounds={"size": bound}), Point())


def test_the_method(made: dict[str, object]) -> None:
    method = made["Structured"](keep=0.5, dense_epochs=1).with_(epochs=1, batch_size=64)
    small = hb.compress(mlp(), toy(), method=method, threat=hb.Linf(0.1))
    weights = [v for k, v in small.artifact.state().items() if k.endswith("weight")]
    rows = sum(int((w.flatten(1) != 0).any(1).sum()) for w in weights)
    assert rows <= round(0.5 * sum(len(w) for w in weights))
