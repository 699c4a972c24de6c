"""ATMC: sparsity, rank and codebook in one adversarially trained problem.

    min_θ E max_{x' ∈ Δ(x)} loss(f_θ, x', y),   θ = {U, V, C} per layer,  W = U V + C
    s.t.  Σ_l ‖U‖₀ + ‖V‖₀ + ‖C‖₀ ≤ k,   each of U, V, C has at most 2^b distinct non-zero values

Source: Gui, Wang, Yang, Yu, Wang, Liu, NeurIPS 2019, arXiv 1902.03538. U = I + D starts at the
identity (D = 0, V = W, C = 0), at raw magnitudes.
Departures, all off with ``paper=True, factors=True``: C alone by default, each matrix is weighed by
its norm (raw magnitudes may empty a layer), the budget falls along a schedule instead of at once,
pruned weights gather evidence, and the centroids of the shipped assignment are trained last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from hauberk.constraints import Annealed, Clusters, Codebook, Sparsity
from hauberk.methods.method import Compression
from hauberk.parametrize import factorise, matrices
from hauberk.problem import Constraint, Problem
from hauberk.solve import Stage
from hauberk.solvers import ADMM, ProjectedGradient
from hauberk.threat import Threat
from hauberk.types import Weights


@dataclass(frozen=True, kw_only=True)
class ATMC(Compression):
    """One global ℓ0 budget over all factors, and a codebook for each, by ADMM.

    Attributes:
        keep: share of the dense weights that may be non-zero, over U, V and C together, in (0, 1].
        bits: of a codebook index; 2^bits non-zero values per matrix, 1 to 16.
        polish_epochs: passes that train the centroids once support and assignment are settled.
        factors: the paper's W = U V + C; off is C alone, which lost nothing on digits.
        rho: ADMM's penalty weight (the paper's code has 0.1; AdamW's scaled steps want less).
        paper: the paper's plain form: full budget at once, no polish.
    """

    keep: float = 0.02
    bits: int = 4
    polish_epochs: int = 5
    factors: bool = False
    rho: float = 0.01
    paper: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        super().__post_init__()
        Sparsity(self.keep)
        Codebook(self.bits)
        if self.polish_epochs < 0:
            raise ValueError(f"polish_epochs was given as {self.polish_epochs}; give 0 or more.")

    def stages(self, model: nn.Module, threat: Threat) -> Iterator[Stage]:
        """ADMM, then polish."""
        objective, count = self.objective(threat), self._count(model)
        if self.factors:
            factorise(model)
        budget = self._budget(count, Problem(objective, select=matrices).weights(model))
        structures = {"budget": budget, "codebook": Codebook(self.bits)}
        problem = Problem(objective, structures, select=matrices)
        admm = ADMM(
            frozenset({"codebook"}), self.rho, descent=self.descent(0.5), lazy=not self.paper
        )
        yield self.stage("admm", problem, admm, self.epochs)
        if self.polish_epochs and not self.paper:
            settled = {"clusters": Clusters.of(problem.weights(model))}
            polish = Problem(objective, settled, select=matrices)
            gradient = ProjectedGradient(self.descent(0.1))
            yield self.stage("polish", polish, gradient, self.polish_epochs)

    def _count(self, model: nn.Module) -> int:
        """``k``, a share of the weights the net has before it is factorised."""
        weights = dict(model.named_parameters())
        return max(1, int(self.keep * sum(weights[name].numel() for name in matrices(model))))

    def _budget(self, count: int, w: Weights) -> Constraint:
        if self.paper:
            return Sparsity(count)
        return Annealed(Sparsity(count, scales=Sparsity.relative(w)))
