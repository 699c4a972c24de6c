"""ALR: adversarial training of low-rank weights.

min_{U,V} E max_{x' ∈ Δ(x)} loss(f_{UV}, x', y),  rank(U V) ≤ r in every layer
The fourth baseline of ATMC (arXiv 1902.03538, §4). It starts at the truncated SVD of the dense net.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from hauberk.dataset import Examples
from hauberk.method import Compression
from hauberk.parametrize import factorise
from hauberk.problem import Problem
from hauberk.recipe import FactorPackaging
from hauberk.solvers import ProjectedGradient
from hauberk.threat import Threat
from hauberk.training.stage import Stage


@dataclass(frozen=True, kw_only=True)
class ALR(Compression):
    """Every matrix and kernel as U V, trained as such; the rank holds by construction.

    Attributes:
        rank: number of columns of U in every layer, 1 or more.
    """

    rank: int = 4
    packaging: FactorPackaging = FactorPackaging()

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank was given as {self.rank}; give a whole number of 1 or more.")

    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        """One stage, ``low-rank``: the factors are trained."""
        factorise(model, self.rank, self.select)
        problem = Problem(self.objective(threat))
        solver = ProjectedGradient(self.optimisation.descent(0.5))
        yield self.stage("low-rank", problem, solver, self.optimisation.epochs)
