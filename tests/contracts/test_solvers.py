"""The laws of a solver; one row in `rows.SOLVERS` admits a new one."""

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hauberk.batch import Batch
from hauberk.ops.random import generator
from hauberk.problem import Bound, Loss, Objective, Penalty, Problem
from hauberk.solver import Solver, State
from hauberk.solvers import DualAscent
from hauberk.training import checkpoint
from hauberk.training.loop import solve
from hauberk.training.run import Run
from hauberk.training.stage import Stage
from hauberk.types import Weights
from tests.contracts.rows import SOLVERS, Box
from tests.helpers.qp import Point, Quadratic, kkt, no_data


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: f"{type(s).__name__}")
def test_reaches_the_kkt_point_of_a_box_constrained_qp(solver: Solver) -> None:
    model = Point()
    problem = Problem(Quadratic(), {"box": Box(0.5)})
    solution = solve(Stage("qp", problem, solver, 60, 8), model, no_data(), Run())
    assert solution.ok
    assert model.w.abs().max() <= 0.5
    torch.testing.assert_close(model.w.detach(), kkt(), atol=5e-3, rtol=0)


def _go(solver: Solver, problem: Problem, model: Point, state: State, steps: Iterable[int]) -> None:
    for step in steps:
        x, y = torch.zeros(4, 1), torch.zeros(4, dtype=torch.long)
        batch = Batch(x, y, generator(0, step), progress=step / 40, step=step)
        solver.step(problem, model, batch, state)


@pytest.mark.parametrize("stop", [0, 1, 17])
@pytest.mark.parametrize(
    "solver",
    [*SOLVERS, *(replace(s, lazy=True) for s in SOLVERS if hasattr(s, "lazy"))],
    ids=lambda s: f"{type(s).__name__}",
)
def test_a_stopped_run_resumes_to_the_same_bits(solver: Solver, stop: int, tmp_path: Path) -> None:
    solver = replace(solver, descent=replace(solver.descent, average=0.9))
    near = Bound(lambda m, b: m.w.square().sum(), lambda m: float(m.w.detach().norm()) ** 2, 0.3)
    bounds = {"near": near} if isinstance(solver, DualAscent) else {}
    problem = Problem(Quadratic(), {"box": Box(0.5)}, bounds)
    whole, stopped, resumed = Point(), Point(), Point()
    state, first, second = (solver.init(problem, net) for net in (whole, stopped, resumed))
    _go(solver, problem, whole, state, range(40))
    _go(solver, problem, stopped, first, range(stop))
    path = tmp_path / "state.safetensors"
    checkpoint.save(path, {"model": dict(stopped.state_dict()), "state": first.tree()})
    tree = checkpoint.load(path)
    assert tree is not None
    resumed.load_state_dict(tree["model"])
    second.load(tree["state"])
    _go(solver, problem, resumed, second, range(stop, 40))
    assert torch.equal(resumed.w, whole.w)
    for net, memory in ((whole, state), (resumed, second)):
        solver.finish(problem, net, memory)
    assert torch.equal(resumed.w, whole.w) and whole.w.any()


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: f"{type(s).__name__}")
def test_a_diverged_run_ends_as_a_sentence(solver: Solver) -> None:
    class Cliff(Objective):
        def __call__(self, model: nn.Module, batch: Batch) -> Loss:
            return Loss(model.w.sum() + (math.nan if batch.progress > 0.5 else 1.0))

    model = Point()
    solution = solve(
        Stage("cliff", Problem(Cliff(), {"box": Box(0.5)}), solver, 4, 2), model, no_data(), Run()
    )
    assert not solution.ok
    assert "diverged" in solution.error and "learning rate" in solution.error
    assert model.w.isfinite().all()


def test_weights_that_overflow_end_as_a_sentence_too() -> None:
    from hauberk.constraints import Sparsity
    from hauberk.solvers import Descent, ProjectedGradient

    model = Point()
    steep = ProjectedGradient(Descent(lr=1e38, average=0.0, clip=1e30, adaptive=False))
    problem = Problem(Quadratic(), {"budget": Sparsity(2)})
    solution = solve(Stage("steep", problem, steep, 4, 8), model, no_data(), Run())
    assert not solution.ok and "diverged" in solution.error
    assert model.w.isfinite().all()


@pytest.mark.parametrize(
    "solver",
    [s for s in SOLVERS if not isinstance(s, DualAscent)],
    ids=lambda s: f"{type(s).__name__}",
)
def test_bounds_are_refused_rather_than_ignored(solver: Solver) -> None:
    bound = Bound(lambda m, b: m.w.sum(), lambda m: 0.0, 1.0)
    with pytest.raises(ValueError, match="bounds"):
        solver.init(Problem(Quadratic(), {"box": Box(0.5)}, {"size": bound}), Point())


@pytest.mark.slow
def test_a_penalty_is_met_by_its_prox() -> None:
    class L1(Penalty):
        def value(self, w: Weights) -> Tensor:
            return torch.stack([t.abs().sum() for t in w.values()]).sum()

        def prox(self, w: Weights, step: float) -> Weights:
            return {k: t.sign() * (t.abs() - step).clamp_min(0) for k, t in w.items()}

    class Separable(Objective):
        def __call__(self, model: nn.Module, batch: Batch) -> Loss:
            return Loss(0.5 * ((model.w - Quadratic.c) ** 2).sum())

    from hauberk.solvers import Descent, ProjectedGradient

    model = Point()
    solver = ProjectedGradient(Descent(lr=0.1, average=0.0, clip=100.0, adaptive=False))
    solve(Stage("l1", Problem(Separable(), {"l1": L1()}), solver, 100, 8), model, no_data(), Run())
    shrunk = Quadratic.c.sign() * (Quadratic.c.abs() - 1).clamp_min(0)  # argmin ½‖w−c‖² + ‖w‖₁
    assert model.w[2] == 0
    torch.testing.assert_close(model.w.detach(), shrunk, atol=1e-4, rtol=0)
