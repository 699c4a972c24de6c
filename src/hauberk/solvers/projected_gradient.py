"""Projected (proximal) gradient descent, eager or lazy.

eager: w ← prox_{γ r}( w − γ ∇f(w) )
lazy:  v ← v − γ ∇f(w),  w ← Π(v)        the gradient is taken at w, the memory is v

The lazy form (Nesterov's dual averaging; for pruning: Lin et al., 2020, arXiv 2006.07253) lets a
pruned weight gather evidence over many steps, where the eager form asks it to beat the threshold
in one: an eager support freezes after the first cut.

Several structures are applied one after another, in the problem's order; that is a feasible point,
and the exact projection onto the intersection where they commute (as sparsity and codebook do not).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.batch import Batch
from hauberk.problem import Problem, Structure
from hauberk.solver import Metrics, Solver
from hauberk.solvers.descent import Descending, Descent, descend, put


class Projecting(Descending):
    """The descent's memory and, for the lazy form, ``v``."""

    def __init__(self, problem: Problem, model: nn.Module, descent: Descent, lazy: bool) -> None:
        super().__init__(model, descent)
        weights = problem.weights(model) if lazy and problem.structures else {}
        self.shadow: dict[str, Tensor] = {n: p.detach().clone() for n, p in weights.items()}

    def tree(self) -> dict[str, Any]:
        """The descent's memory and ``v``."""
        return {**super().tree(), "shadow": self.shadow}

    def load(self, tree: dict[str, Any]) -> None:
        """Take back what `tree` gave."""
        super().load(tree)
        self.shadow = {n: v.to(self.shadow[n].device) for n, v in tree["shadow"].items()}


@dataclass(frozen=True)
class ProjectedGradient(Solver[Projecting]):
    """``min f(w) + Σ r_i(w)`` over convex or top-k-like sets, by gradient and prox.

    Attributes:
        descent: how the smooth part steps.
        lazy: keep the unprojected weights as the memory.
    """

    descent: Descent = field(default_factory=Descent)
    lazy: bool = False

    def init(self, problem: Problem, model: nn.Module) -> Projecting:
        """Nothing is projected before the first step."""
        no_bounds(self, problem)
        return Projecting(problem, model, self.descent, self.lazy)

    def step(self, problem: Problem, model: nn.Module, batch: Batch, state: Projecting) -> Metrics:
        """Gradient, prox, average."""
        return projected_step(problem, problem.structures, model, batch, state)

    def finish(self, problem: Problem, model: nn.Module, state: Projecting) -> None:
        """The averaged weights, made feasible."""
        state.settle(model)
        proximal(problem.structures, problem.weights(model), 1.0, 0.0)


def projected_step(
    problem: Problem,
    joint: Mapping[str, Structure],
    model: nn.Module,
    batch: Batch,
    state: Projecting,
    pull: Callable[[], None] | None = None,
) -> Metrics:
    """``w ← prox_joint( pull( w − γ ∇f(w) ) )``, from ``v`` in the lazy form; and the average.

    Args:
        problem: whose objective is differentiated.
        joint: the structures that are met at every step.
        model: whose parameters move.
        batch: where.
        state: the descent's memory.
        pull: moves the weights once the gradient has: the prox of another penalty.
    """
    weights = problem.weights(model)

    def before() -> None:
        if state.shadow:  # the gradient was taken at w; the step is made from v
            put(weights, state.shadow)

    metrics = descend(problem, model, batch, state, before)
    if pull:
        pull()
    if state.shadow:
        for n, p in weights.items():
            state.shadow[n].copy_(p.detach())
    if joint:
        rate = state.descent.rate(batch.progress)
        proximal(joint, weights, batch.progress, rate)
    state.track(model)
    return metrics


@torch.no_grad()
def proximal(
    structures: Mapping[str, Structure],
    weights: dict[str, nn.Parameter],
    progress: float,
    step: float,
) -> None:
    """Every structure's prox in turn, in place: one copy of the weights at a time."""
    for structure in structures.values():
        detached = {name: p.detach() for name, p in weights.items()}
        put(weights, structure.at(progress).prox(detached, step))


def no_bounds(solver: Solver[Any], problem: Problem) -> None:
    """Refuse a problem whose bounds this solver would ignore."""
    if problem.bounds:
        raise ValueError(
            f"{type(solver).__name__} was given the bounds {', '.join(problem.bounds)}; it "
            "enforces structures alone: express the bound as a Constraint, or use a dual solver."
        )
