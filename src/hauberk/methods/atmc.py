"""ATMC: sparsity, rank and codebook in one adversarially trained problem.

    min_θ E max_{x' ∈ Δ(x)} loss(f_θ, x', y),   θ = {U, V, C} per layer,  W = U V + C
    s.t.  Σ_l ‖U‖₀ + ‖V‖₀ + ‖C‖₀ ≤ k,   each of U, V, C has at most 2^b distinct non-zero values

Source: Gui, Wang, Yang, Yu, Wang, Liu, NeurIPS 2019, arXiv 1902.03538. U = I + D starts at the
identity (D = 0, V = W, C = 0), at raw magnitudes.
Departures of the default: C alone; LAMP scores balance the matrices (raw magnitudes may empty a
layer); the budget falls along a schedule instead of at once; pruned weights may return; and the
codebook joins once the budget is met, on the remaining support and on long biases too, by lazy
projection (the gradient is taken at the quantised weights) where the paper splits it off by ADMM.
On MNIST an ADMM penalty inside of Adam's gradient cost ten points of robust accuracy (the decoupled
prox was not tried there), the lazy form one or two, most of them in the last layer: hence
``outer_bits``.
``paper=True, factors=True`` give the paper's formulation. Departures that remain: the k-means of
the codebook keeps zero fixed and outside of the 2^b values; ADMM's penalty is a decoupled prox
(`hauberk.solvers.ADMM`), so that rho has other units than the paper's; AdamW with weight averaging;
the training attack takes few clipped-gradient steps (`PGD.soft`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from hauberk.constraints import Annealed, Codebook, On, PerTensor, Sparsity, Support
from hauberk.dataset import Examples
from hauberk.method import Compression
from hauberk.parametrize import coded, factorise, layers
from hauberk.problem import Constraint, Problem
from hauberk.recipe import Packaging
from hauberk.solvers import ADMM, ProjectedGradient
from hauberk.threat import Threat
from hauberk.training.stage import Stage


@dataclass(frozen=True, kw_only=True)
class ATMC(Compression):
    """One global ℓ0 budget over all factors, and a codebook for each.

    Attributes:
        keep: fraction of the dense weights that may be non-zero, over U, V and C together, (0, 1].
        across: one budget over all layers, balanced by LAMP; off is a budget for each layer.
        bits: bits of a codebook index; 2^bits non-zero values per matrix, 1 to 16.
        outer_bits: the same for the first and the last layer, where errors cost most; 0 is bits.
        codebook_epochs: passes under budget and codebook, after those of the budget alone.
        factors: the paper's W = U V + C; off is C alone, which lost nothing on digits.
        paper: the paper's solver: both constraints at once, the codebook split off by ADMM; the
            paper's formulation needs factors, too.
        rho: penalty weight of ADMM with paper; not the paper's rho: over one stage the gap to the
            duplicate would shrink by e^rho, see `hauberk.solvers.ADMM`.
    """

    keep: float = 0.02
    across: bool = True
    bits: int = 4
    outer_bits: int = 0
    codebook_epochs: int = 5
    factors: bool = False
    paper: bool = False
    rho: float = 20.0
    packaging: Packaging = Packaging()

    def __post_init__(self) -> None:
        Sparsity(self.keep)
        Codebook(self.bits)
        Codebook(self.outer_bits or self.bits)
        ADMM(frozenset(), self.rho)
        if self.codebook_epochs < 0:
            given = self.codebook_epochs
            raise ValueError(f"codebook_epochs was given as {given}; give 0 or more.")
        if self.factors and self.packaging.slim:
            raise ValueError(
                "factors and slim were both given; factors have no dead filters: give one."
            )
        if self.factors and not self.across:
            raise ValueError(
                "factors and no across were both given; the factors of all layers share one "
                "budget: give one."
            )

    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        """The budget, then budget and codebook; with ``paper`` both at once, by ADMM."""
        objective, count = self.objective(threat), self._count(model)
        if self.factors:
            factorise(model, selection=self.select)

        def problem(**structures: Constraint) -> Problem:
            return Problem(objective, structures, select=self.select)

        weights = problem().weights(model)
        codebook = self._codebook(model)
        if self.paper:
            admm = ADMM(frozenset({"codebook"}), self.rho, descent=self.optimisation.descent(0.5))
            plain = Sparsity(count) if self.across else PerTensor(Sparsity(self.keep))
            both = problem(budget=plain, codebook=codebook)
            yield self.stage("admm", both, admm, self.optimisation.epochs)
            return
        if self.across:
            budget: Constraint = Annealed(Sparsity(count).balanced(weights))
        else:
            budget = PerTensor(Annealed(Sparsity(self.keep)))
        sparse = ProjectedGradient(self.optimisation.descent(0.5), lazy=True)
        yield self.stage("sparse", problem(budget=budget), sparse, self.optimisation.epochs)
        support = On(Support.of(weights), frozenset(weights))
        sets = {"support": support, "codebook": codebook}
        both = Problem(
            objective, sets, select=lambda net: coded(net, self.select(net), 8 << self.bits)
        )
        solver = ProjectedGradient(self.optimisation.descent(0.15), lazy=True)
        yield self.stage("codebook", both, solver, self.codebook_epochs)

    def _codebook(self, model: nn.Module) -> Codebook:
        """``Q_b``, with the bits of the outer layers."""
        every = list(layers(model))
        outer = (f"{every[0]}.", f"{every[-1]}.")
        own = [n for n in self.select(model) if self.outer_bits and n.startswith(outer)]
        return Codebook(self.bits, dict.fromkeys(own, 1 << self.outer_bits))

    def _count(self, model: nn.Module) -> int:
        """``k``: ``keep`` of the weights of the net before it is factorised."""
        weights = dict(model.named_parameters())
        return max(1, int(self.keep * sum(weights[name].numel() for name in self.select(model))))
