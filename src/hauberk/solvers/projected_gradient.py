"""Projected (proximal) gradient descent, eager or lazy.

eager: w ← prox_{γ r}( w − γ ∇f(w) )
lazy:  v ← prox_{γ p}( v − γ ∇f(w) ),  w ← Π(v)     the gradient is taken at w, the memory is v

with penalties p and sets Π: a penalty shrinks the memory itself, since its steps must add up.

The lazy form (Nesterov's dual averaging; for pruning: Lin et al., 2020, arXiv 2006.07253) lets a
pruned weight return over many steps; in the eager form it must exceed the threshold in one step, so
the support freezes after the first pruning.

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
from hauberk.problem import Penalty, Problem, Structure
from hauberk.solver import Metrics, Solver, State
from hauberk.solvers.descent import Descent, DescentState, put


@dataclass
class ProjectedState(State):
    """The descent's state and, in the lazy form, ``v``.

    Attributes:
        descent: moments and average.
        shadow: ``v``, the unprojected weights by name; empty in the eager form.
    """

    descent: DescentState
    shadow: dict[str, Tensor]

    @classmethod
    def of(cls, problem: Problem, model: nn.Module, descent: Descent, lazy: bool) -> ProjectedState:
        """The state before the first step.

        Args:
            problem: its constrained weights are those of ``v``.
            model: that is trained.
            descent: how the smooth part steps.
            lazy: whether there is a ``v``.
        """
        weights = problem.weights(model) if lazy and problem.structures else {}
        return cls(descent.init(model), {n: p.detach().clone() for n, p in weights.items()})


@dataclass(frozen=True)
class ProjectedGradient(Solver[ProjectedState]):
    """``min f(w) + Σ r_i(w)`` over convex or top-k-like sets, by gradient and prox.

    Attributes:
        descent: how the smooth part steps.
        lazy: keep the unprojected weights between steps.
    """

    descent: Descent = field(default_factory=Descent)
    lazy: bool = False

    def init(self, problem: Problem, model: nn.Module) -> ProjectedState:
        """Nothing is projected before the first step."""
        no_bounds(self, problem)
        return ProjectedState.of(problem, model, self.descent, self.lazy)

    def step(
        self, problem: Problem, model: nn.Module, batch: Batch, state: ProjectedState
    ) -> Metrics:
        """Gradient, prox, average."""
        return projected_step(self.descent, problem, model, batch, state)

    def finish(self, problem: Problem, model: nn.Module, state: ProjectedState) -> None:
        """Project the averaged weights onto the structures."""
        self.descent.settle(model, state.descent)
        proximal(problem.structures, problem.weights(model), 1.0, 0.0)


def projected_step(
    descent: Descent,
    problem: Problem,
    model: nn.Module,
    batch: Batch,
    state: ProjectedState,
    pull: Callable[[], None] | None = None,
) -> Metrics:
    """``w ← prox( pull( w − γ ∇f(w) ) )``, from ``v`` in the lazy form; and the average.

    Args:
        descent: how the smooth part steps.
        problem: its objective is differentiated, its structures are met.
        model: its parameters move.
        batch: the examples of this step.
        state: is changed.
        pull: moves the weights after the gradient step: the prox of another penalty.
    """
    weights = problem.weights(model)

    def before() -> None:
        if state.shadow:  # the gradient was taken at w; the step is made from v
            put(weights, state.shadow)

    metrics = descent.step(problem, model, batch, state.descent, before)
    if pull:
        pull()
    rate, structures = descent.rate(batch.progress), problem.structures
    if state.shadow:
        penalties = {k: s for k, s in structures.items() if isinstance(s, Penalty)}
        proximal(penalties, weights, batch.progress, rate)
        for n, p in weights.items():
            state.shadow[n].copy_(p.detach())
        structures = {k: s for k, s in structures.items() if k not in penalties}
    if structures:
        proximal(structures, weights, batch.progress, rate)
    descent.track(model, state.descent)
    return metrics


@torch.no_grad()
def proximal(
    structures: Mapping[str, Structure],
    weights: dict[str, nn.Parameter],
    progress: float,
    step: float,
) -> None:
    """Apply every structure's prox in turn, in place, with one copy of the weights at a time.

    Args:
        structures: by name, in the order of their application.
        weights: the constrained parameters; they are changed.
        progress: fraction of the stage that is done, in [0, 1].
        step: size of the proximal step.
    """
    for structure in structures.values():
        detached = {name: p.detach() for name, p in weights.items()}
        put(weights, structure.at(progress).prox(detached, step))


def no_bounds(solver: Solver[Any], problem: Problem) -> None:
    """Refuse a problem with bounds.

    Raises:
        ValueError: the problem has bounds, which this solver would ignore.
    """
    if problem.bounds:
        raise ValueError(
            f"{type(solver).__name__} was given the bounds {', '.join(problem.bounds)}; it "
            "enforces structures alone: express the bound as a Constraint, or use a dual solver."
        )
