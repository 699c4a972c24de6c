"""Int8: quantisation-aware adversarial training, weights on a uniform grid, activations rounded.

    min_w E max_{x' ∈ Δ(x)} loss(f̃_w, x', y)   s.t.  w_l = s_l q_l,  q integer,  |q| ≤ 2^(b−1) − 1

f̃ rounds the inputs of its layers (`hauberk.parametrize.quantise`) with straight-through gradients,
those of the attack too. Weights by lazy projected gradient: the gradient is taken on the grid.
Source: Jacob et al. (2018), arXiv 1712.05877, §3, plus the inner maximisation. Departures: the
scales of the weights are optimal for the starting network and stay constant; the file is exported
by ``hauberk export --format onnx-int8`` with exactly the integers that were trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from hauberk.constraints import FixedGrid, Support, UniformGrid
from hauberk.dataset import Examples
from hauberk.method import Compression
from hauberk.parametrize import quantise, unquantise
from hauberk.problem import Constraint, Problem
from hauberk.recipe import GridPackaging
from hauberk.solvers import ProjectedGradient
from hauberk.threat import Threat
from hauberk.training.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Int8(Compression):
    """Training for integer arithmetic; pruned weights stay pruned.

    Attributes:
        bits: bits of a weight, 2 to 8; activations have 8.
        per_channel: a scale for each output of a layer in place of one for all: more accurate,
            mostly at few bits; the .hbk, which then has no short codebook, is larger.
        revive: let weights that are zero at the start become non-zero.
    """

    bits: int = 8
    per_channel: bool = False
    revive: bool = False
    packaging: GridPackaging = GridPackaging()

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise ValueError(f"bits was given as {self.bits}; give 2 to 8 bits for a weight.")

    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        """One stage with rounded activations; the network is a float network afterwards."""
        weights = Problem(self.objective(threat), select=self.select).weights(model)
        sets: dict[str, Constraint] = {} if self.revive else {"support": Support.of(weights)}
        sets["grid"] = FixedGrid.of(UniformGrid(self.bits, self.per_channel), weights)
        problem = Problem(self.objective(threat), sets, select=self.select)
        quantise(model, sample.images())
        solver = ProjectedGradient(self.optimisation.descent(0.25), lazy=True)
        yield self.stage("grid", problem, solver, self.optimisation.epochs)
        unquantise(model)
