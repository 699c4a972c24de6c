"""AL0: adversarial training under a global ℓ0 budget.

min_w E max_{x' ∈ Δ(x)} loss(f_w, x', y)  s.t.  Σ_l ‖W_l‖₀ ≤ k
The third baseline of ATMC (arXiv 1902.03538, §4), solved by projected gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from hauberk.constraints import Annealed, Sparsity
from hauberk.dataset import Examples
from hauberk.method import Compression
from hauberk.problem import Constraint, Problem
from hauberk.recipe import Packaging
from hauberk.solvers import ProjectedGradient
from hauberk.threat import Threat
from hauberk.training.stage import Stage


@dataclass(frozen=True, kw_only=True)
class AL0(Compression):
    """Gradient steps, each projected onto one global ℓ0 budget.

    Attributes:
        keep: fraction of the weights of all matrices and kernels that is kept, in (0, 1].
        anneal: let the budget fall to ``keep`` over the first 60% of the epochs, let pruned
            weights return, and balance the layers by LAMP; off is the paper's plain form, whose
            support soon freezes and which may empty a layer.
    """

    keep: float = 0.02
    anneal: bool = True
    packaging: Packaging = Packaging()

    def __post_init__(self) -> None:
        Sparsity(self.keep)

    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        """One stage, ``sparse``: every step ends with the projection."""
        objective = self.objective(threat)
        if self.anneal:
            dense = Problem(objective, select=self.select).weights(model)
            budget: Constraint = Annealed(Sparsity(self.keep).balanced(dense))
        else:
            budget = Sparsity(self.keep)
        problem = Problem(objective, {"budget": budget}, select=self.select)
        solver = ProjectedGradient(self.optimisation.descent(0.5), lazy=self.anneal)
        yield self.stage("sparse", problem, solver, self.optimisation.epochs)
