"""The stage in which weights are trained on a uniform grid, with activations rounded to 8 bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from torch import nn

from hauberk.constraints import FixedGrid, UniformGrid
from hauberk.dataset import Examples
from hauberk.method import Method
from hauberk.parametrize import quantise, unquantise
from hauberk.problem import Constraint, Objective, Problem
from hauberk.solvers import ProjectedGradient
from hauberk.training.stage import Stage


def grid_stage(
    method: Method,
    grid: UniformGrid,
    model: nn.Module,
    sample: Examples,
    objective: Objective,
    names: Callable[[nn.Module], Sequence[str]],
    sets: Mapping[str, Constraint],
    *,
    fraction: float,
    epochs: int,
) -> Iterator[Stage]:
    """One stage with rounded activations; the network is a float network afterwards.

    Args:
        method: gives batches and learning rate.
        grid: of the weights; its scales are the best for them as they are now.
        model: trained in place.
        sample: a few training examples, which set the first ranges of the activations.
        objective: what is minimised.
        names: the parameters that are on the grid.
        sets: what they must meet besides.
        fraction: of the peak learning rate.
        epochs: passes over the training split.
    """
    weights = Problem(objective, select=names).weights(model)
    every = {**sets, "grid": FixedGrid.of(grid, weights)}
    problem = Problem(objective, every, select=names)
    quantise(model, sample.images())
    solver = ProjectedGradient(method.optimisation.descent(fraction), lazy=True)
    yield method.stage("grid", problem, solver, epochs)
    unquantise(model)
