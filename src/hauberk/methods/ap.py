"""NAP and AP: train, prune once to a global budget that LAMP balances, retrain what is left.

w ← Π_{‖w‖₀ ≤ k}(w),  then  min_w E loss  s.t.  supp(w) fixed.
The first two baselines of ATMC (arXiv 1902.03538, §4): natural and adversarial training.
Departure: the budget is one for all layers, and magnitudes are compared across layers by their LAMP
scores (Lee et al., 2021, arXiv 2010.07611). By raw magnitude, as there, a layer may be emptied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from hauberk.constraints import Sparsity, Support
from hauberk.dataset import Examples
from hauberk.method import Compression
from hauberk.problem import Problem
from hauberk.recipe import Packaging, TrainingLoss
from hauberk.solvers import ProjectedGradient
from hauberk.threat import Threat
from hauberk.training.stage import Stage


@dataclass(frozen=True, kw_only=True)
class _OneShot(Compression):
    """Training, one-shot pruning of the smallest weights by LAMP score, retraining.

    The epochs are those of the retraining; with 0 the pruned net ships as it is.

    Attributes:
        keep: fraction of the weights of all matrices and kernels that is kept, in (0, 1].
    """

    keep: float = 0.02
    packaging: Packaging = Packaging()

    def __post_init__(self) -> None:
        Sparsity(self.keep)

    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        """Pruning in one shot, then retraining of the weights that are left."""
        objective = self.objective(threat)
        dense = Problem(objective, select=self.select).weights(model)
        sparsity = Sparsity(self.keep).balanced(dense)
        solver = ProjectedGradient(self.optimisation.descent(0.5))
        pruning = Problem(objective, {"budget": sparsity}, select=self.select)
        yield self.stage("cut", pruning, solver, 0)
        support = Support.of(pruning.weights(model))
        kept = Problem(objective, {"support": support}, select=self.select)
        yield self.stage("retrain", kept, solver, self.optimisation.epochs)


@dataclass(frozen=True, kw_only=True)
class AP(_OneShot):
    """Adversarial training, one-shot pruning by LAMP score, adversarial retraining."""


@dataclass(frozen=True, kw_only=True)
class NAP(_OneShot):
    """Natural training, one-shot pruning by LAMP score, natural retraining: no adversary."""

    training_loss: TrainingLoss = TrainingLoss(natural=True)
