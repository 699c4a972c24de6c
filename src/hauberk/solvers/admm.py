"""ADMM: constraints that are hard to meet jointly are split off and met by duplicates.

min_w f(w)  s.t.  w ∈ C,  w ∈ C_k for k in split,   with a duplicate z_k and scaled dual u_k each:
    w   ← Π_C( (w⁺ + r Σ_k (z_k − u_k)) / (1 + K r) ),  w⁺ = w − γ P ∇f(w)      every step
    z_k ← Π_{C_k}( w + u_k );   u_k ← u_k + w − z_k,   ρ grows,  u_k ← u_k ρ_before/ρ   every round

Source: Boyd et al., 2011, §3.1, and §3.4.1 for a ρ that moves (the multiplier ρ u stays what it
was); ATMC (arXiv 1902.03538, §3.2); Ye et al., 2019 (arXiv 1903.12561). z and u carry no graph.
Departure: the penalty is met by its prox after the gradient's step, not by its gradient inside of
it, as AdamW does with weight decay. Adam would divide the pull by the gradient's own size; here it
is r = exp(ρ Δt) − 1 for a step that is the fraction Δt of the stage, whatever the learning rate and
the number of steps: over a stage w would come e^ρ times nearer to z − u.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.batch import Batch
from hauberk.problem import Constraint, Problem
from hauberk.solver import Metrics, Solver, State
from hauberk.solvers.descent import Descent
from hauberk.solvers.projected_gradient import ProjectedState, no_bounds, projected_step, proximal
from hauberk.types import Weights


@dataclass
class ADMMState(State):
    """The primal state, ``z`` and ``u`` for each split constraint, and the penalty weight now.

    Attributes:
        primal: of the ``w`` steps.
        z: duplicates by constraint and weight.
        u: scaled duals, likewise.
        rho: ρ.
        round: rounds of ``z`` and ``u`` steps so far.
    """

    primal: ProjectedState
    z: dict[str, dict[str, Tensor]]
    u: dict[str, dict[str, Tensor]]
    rho: float
    round: int = 0

    def due(self, progress: float, rounds: int) -> bool:
        """Whether another round of ``z`` and ``u`` steps is due; counts it."""
        before, self.round = self.round, int(progress * rounds)
        return self.round > before


@dataclass(frozen=True)
class ADMM(Solver[ADMMState]):
    """Split the named constraints; project onto the others at each step.

    Attributes:
        split: names of the problem's constraints that get a duplicate.
        rho: penalty weight ρ at the start: over a stage the gap would close by e^ρ.
        growth: factor of ρ from the start to the end of the stage, at least 1.
        rounds: updates of ``z`` and ``u`` over the stage, evenly spread.
        descent: how the smooth part steps.
    """

    split: frozenset[str]
    rho: float = 20.0
    growth: float = 1.0
    rounds: int = 400
    descent: Descent = field(default_factory=Descent)

    def __post_init__(self) -> None:
        if not self.rho > 0:
            raise ValueError(f"rho was given as {self.rho}; give a positive penalty weight.")
        if not self.growth >= 1:
            raise ValueError(f"growth was given as {self.growth}; give a factor of 1 or more.")
        if self.rounds < 1:
            raise ValueError(f"rounds was given as {self.rounds}; give a number of 1 or more.")

    def init(self, problem: Problem, model: nn.Module) -> ADMMState:
        """``z = Π(w), u = 0``."""
        no_bounds(self, problem)
        w = {name: p.detach() for name, p in problem.weights(model).items()}
        sets = self._sets(problem)
        z = {k: dict(c.at(0.0).project(w)) for k, c in sets.items()}
        u = {k: {n: torch.zeros_like(t) for n, t in w.items()} for k in sets}
        primal = ProjectedState.of(problem, model, self.descent, lazy=False)
        return ADMMState(primal, z, u, self.rho)

    def step(self, problem: Problem, model: nn.Module, batch: Batch, state: ADMMState) -> Metrics:
        """The ``w`` step and, every few steps, the ``z`` and ``u`` steps."""
        weights = problem.weights(model)

        def pull() -> None:
            _pull(weights, state, batch.progress)

        joint = replace(problem, structures=self._joint(problem))
        metrics = projected_step(self.descent, joint, model, batch, state.primal, pull)
        if state.due(batch.progress, self.rounds):
            _split(weights, state, self._sets(problem), batch.progress)
            _tighten(state, self.rho * self.growth**batch.progress)
        return {**metrics, "residual": _residual(weights, state)}

    def finish(self, problem: Problem, model: nn.Module, state: ADMMState) -> None:
        """Project the averaged weights onto every set in turn, the split ones last."""
        self.descent.settle(model, state.primal.descent)
        ordered = {**self._joint(problem), **self._sets(problem)}
        proximal(ordered, problem.weights(model), 1.0, 0.0)

    def _sets(self, problem: Problem) -> dict[str, Constraint]:
        chosen = {k: c for k, c in problem.structures.items() if k in self.split}
        if len(chosen) < len(self.split) or not all(
            isinstance(c, Constraint) for c in chosen.values()
        ):
            raise ValueError(
                f"ADMM is to split {', '.join(sorted(self.split))}; the problem's "
                f"structures are {', '.join(problem.structures) or 'none'}: name constraints of it."
            )
        return {k: c for k, c in chosen.items() if isinstance(c, Constraint)}

    def _joint(self, problem: Problem) -> dict[str, Any]:
        return {k: c for k, c in problem.structures.items() if k not in self.split}


@torch.no_grad()
def _pull(weights: dict[str, nn.Parameter], state: ADMMState, progress: float) -> None:
    """``w ← argmin ‖w − w⁺‖² + r Σ_k ‖w − (z_k − u_k)‖²``."""
    steps = state.primal.descent.steps
    if not steps:
        return  # the length of a step is known from the second one on
    r = math.expm1(state.rho * progress / steps)
    for name, p in weights.items():
        for k, z in state.z.items():
            p.add_(z[name] - state.u[k][name], alpha=r)
        p.div_(1 + len(state.z) * r)


@torch.no_grad()
def _split(
    weights: Weights, state: ADMMState, sets: dict[str, Constraint], progress: float
) -> None:
    """``u ← u + w``, ``z ← Π(u)``, ``u ← u − z``: no third copy but the one that Π makes."""
    for k, constraint in sets.items():
        state.z.pop(k)
        u = state.u[k]
        for name, p in weights.items():
            u[name].add_(p.detach())
        state.z[k] = dict(constraint.at(progress).project(u))
        for name, t in u.items():
            t.sub_(state.z[k][name])


def _tighten(state: ADMMState, rho: float) -> None:
    """The new ρ; ``ρ u``, the multiplier itself, stays."""
    for tree in state.u.values():
        for t in tree.values():
            t.mul_(state.rho / rho)
    state.rho = rho


@torch.no_grad()
def _residual(weights: Weights, state: ADMMState) -> Tensor:
    """``‖w − z‖ / ‖w‖``, the largest over the split sets: how far from agreement."""
    gaps = [_norm(p.detach() - z[name] for name, p in weights.items()) for z in state.z.values()]
    return torch.stack(gaps).amax() / _norm(p.detach() for p in weights.values()).clamp_min(1e-30)


def _norm(tensors: Iterable[Tensor]) -> Tensor:
    """One tensor at a time."""
    norm: Tensor = torch.stack([torch.linalg.vector_norm(t) for t in tensors]).norm()
    return norm
