"""Dual ascent: minimise R(w) under bounds, each with a multiplier that adapts.

min_w R(w)  s.t.  D_k(w) ≤ c_k:
    w   ← w − γ P ∇[ (R(w) + Σ_k λ_k D_k(w)) / (1 + Σ_k λ_k) ]                    every step
    λ_k ← clip( λ_k · exp( s · EMA((D_k − c_k) / c_k) ), λ_min, λ_max )             every few steps

Source: van Rozendaal, Sautière and Cohen, 2020, arXiv 2005.04064; the multiplicative update is
GECO's (Rezende and Viola, 2018, arXiv 1810.00597). The division keeps the step's length whatever λ
is. Departures: the weights see the bound's ``surrogate``, the multiplier its ``strict`` value, so
that the loop is closed on what was requested (the rounded net, the measured accuracy); a violation
counts 1 at most, as it does from below: at the start it may be many times the limit, and λ would
return from its ceiling only slowly; s follows the learning rate. Structures are projected onto as
in `ProjectedGradient`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from hauberk.batch import Batch
from hauberk.problem import Bound, Infeasible, Loss, Objective, Problem
from hauberk.solver import Metrics, Solver, State
from hauberk.solvers.descent import Descent
from hauberk.solvers.projected_gradient import ProjectedState, projected_step, proximal


@dataclass
class Multiplier(State):
    """The multiplier of one bound, and the values of the bound so far.

    Attributes:
        value: λ.
        drift: the running mean of (D − c) / c.
        last: the latest strict value.
        least: the smallest strict value so far.
        stuck: checks in a row for which λ was at its ceiling and the bound not met.
    """

    value: float
    drift: float = 0.0
    last: float = math.inf
    least: float = math.inf
    stuck: int = 0


@dataclass
class DualState(State):
    """The primal state, and a multiplier for each bound.

    Attributes:
        primal: of the weights.
        multipliers: by the name of the bound.
        look: checks of the strict values so far.
    """

    primal: ProjectedState
    multipliers: dict[str, Multiplier]
    look: int = -1

    def due(self, progress: float, looks: int) -> bool:
        """Whether the strict values are to be checked again; counts it."""
        before, self.look = self.look, int(progress * looks)
        return self.look > before


@dataclass(frozen=True)
class DualAscent(Solver[DualState]):
    """``min R(w)  s.t.  D_k(w) ≤ c_k``, the objective being R and the problem's bounds the D_k.

    Attributes:
        descent: how the smooth part steps.
        speed: s, of the multipliers at the peak learning rate; it falls and rises with that.
        memory: decay of the running mean of the violation, in [0, 1).
        start: initial λ.
        least: λ_min, above 0: a multiplier of 0 would stay there.
        most: λ_max; a multiplier that stays there means that the bound cannot be met.
        looks: checks of the strict values over the stage, evenly spread; at most one a step.
        patience: checks in a row at λ_max with the bound not met, after which the run ends.
        lazy: keep the unprojected weights between steps (see `ProjectedGradient`).
    """

    descent: Descent = field(default_factory=Descent)
    speed: float = 0.06
    memory: float = 0.5
    start: float = 1.0
    least: float = 1e-4
    most: float = 1e4
    looks: int = 400
    patience: int = 200
    lazy: bool = False

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise ValueError(f"speed was given as {self.speed}; give a positive number.")
        if not 0 <= self.memory < 1:
            raise ValueError(f"memory was given as {self.memory}; give one in [0, 1).")
        if not 0 < self.least <= self.start <= self.most < math.inf:
            raise ValueError(
                f"The multiplier was given as {self.start} in [{self.least}, {self.most}]; give "
                "three positive numbers in this order: least, start, most."
            )
        if self.looks < 1 or self.patience < 1:
            raise ValueError(
                f"looks was given as {self.looks} and patience as {self.patience}; give 1 or more "
                "to each."
            )

    def init(self, problem: Problem, model: nn.Module) -> DualState:
        """Every multiplier at its start.

        Raises:
            ValueError: a bound whose limit is not positive.
        """
        for name, bound in problem.bounds.items():
            if not 0 < bound.limit < math.inf:
                raise ValueError(
                    f"The bound {name} was given the limit {bound.limit}; violations are relative "
                    "to the limit: give a positive one."
                )
        primal = ProjectedState.of(problem, model, self.descent, self.lazy)
        return DualState(primal, {name: Multiplier(self.start) for name in problem.bounds})

    def step(self, problem: Problem, model: nn.Module, batch: Batch, state: DualState) -> Metrics:
        """The primal step and, every few steps, the dual step."""
        if state.due(batch.progress, self.looks):
            self._look(problem, model, batch, state)
        weighted = _Weighted(problem, {k: m.value for k, m in state.multipliers.items()})
        primal = replace(problem, objective=weighted, bounds={})
        metrics = projected_step(self.descent, primal, model, batch, state.primal)
        return {**metrics, **_seen(state, metrics["loss"])}

    def finish(self, problem: Problem, model: nn.Module, state: DualState) -> None:
        """Project the averaged weights onto the structures."""
        self.descent.settle(model, state.primal.descent)
        proximal(problem.structures, problem.weights(model), 1.0, 0.0)

    def _look(self, problem: Problem, model: nn.Module, batch: Batch, state: DualState) -> None:
        """The dual step; its speed follows the learning rate, or λ would outrun the weights."""
        speed = self.speed * self.descent.rate(batch.progress) / self.descent.lr
        for name, bound in problem.bounds.items():
            seen = torch.tensor(bound.strict(model), dtype=torch.float64)
            batch.group.broadcast_([seen])
            self._raise(name, bound, state.multipliers[name], float(seen), speed)

    def _raise(self, name: str, bound: Bound, m: Multiplier, seen: float, speed: float) -> None:
        """Update λ after a check of the strict value.

        Args:
            name: of the bound.
            bound: with its limit.
            m: is changed.
            seen: the strict value.
            speed: of the update.

        Raises:
            Infeasible: λ was at its ceiling for too long.
        """
        violation = min((seen - bound.limit) / bound.limit, 1.0)
        m.drift = violation if m.last == math.inf else _mixed(m.drift, violation, self.memory)
        m.last, m.least = seen, min(m.least, seen)
        exponent = math.log(m.value) + speed * m.drift
        m.value = math.exp(min(max(exponent, math.log(self.least)), math.log(self.most)))
        m.stuck = m.stuck + 1 if exponent >= math.log(self.most) and violation > 0 else 0
        if m.stuck >= self.patience:
            raise Infeasible(
                f"The bound {name}, at most {bound.limit:.4g}, was not met: for {m.stuck} "
                f"checks its multiplier was at its ceiling, {self.most:.4g}, and the smallest "
                f"value seen was {m.least:.4g}; give a limit above that, or train longer."
            )


@dataclass(frozen=True)
class _Weighted(Objective):
    """``(R + Σ λ_k D_k) / (1 + Σ λ_k)``."""

    problem: Problem
    multipliers: dict[str, float]

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        loss = self.problem.objective(model, batch)
        value = loss.value
        for name, bound in self.problem.bounds.items():
            value = value + self.multipliers[name] * bound.surrogate(model, batch)
        metrics = {"rate": loss.value.detach(), **loss.metrics}
        return Loss(value / (1 + sum(self.multipliers.values())), metrics)


def _seen(state: DualState, like: Tensor) -> Metrics:
    """λ and D of each bound; without its name if there is only one."""
    alone = len(state.multipliers) == 1
    found: dict[str, float] = {}
    for name, m in state.multipliers.items():
        after = "" if alone else f"_{name}"
        found |= {f"lambda{after}": m.value, f"distortion{after}": m.last}
    return {k: torch.tensor(v, dtype=torch.float32, device=like.device) for k, v in found.items()}


def _mixed(old: float, new: float, memory: float) -> float:
    return memory * old + (1 - memory) * new
