"""NAP and AP: train, cut the weights that are smallest in their layer, retrain what is left.

w ← Π_{‖w‖₀ ≤ k}(w),  then  min_w E loss  s.t.  supp(w) fixed.
The first two baselines of ATMC (arXiv 1902.03538, §4): natural and adversarial training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from hauberk.constraints import Sparsity, Support
from hauberk.dataset import Examples
from hauberk.method import Compression
from hauberk.objectives import Natural
from hauberk.problem import Objective, Problem
from hauberk.solvers import ProjectedGradient
from hauberk.threat import Threat
from hauberk.training.stage import Stage


@dataclass(frozen=True, kw_only=True)
class AP(Compression):
    """Adversarial training, one global magnitude cut, adversarial retraining.

    Attributes:
        keep: share of the weights of Conv and Linear layers that is kept, in (0, 1].
        epochs: of retraining after the cut; 0 ships the cut as it is.
    """

    keep: float = 0.02
    natural: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        super().__post_init__()
        Sparsity(self.keep)

    def objective(self, threat: Threat, warmup: float = 0.0) -> Objective:
        """The adversarial loss, or for `NAP` the clean one."""
        return self.perturbed(Natural()) if self.natural else super().objective(threat, warmup)

    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        """Cut, retrain."""
        objective = self.objective(threat)
        dense = Problem(objective, select=self.select).weights(model)
        sparsity = Sparsity(self.keep).balanced(dense)
        solver = ProjectedGradient(self.descent(0.5))
        cut = Problem(objective, {"budget": sparsity}, select=self.select)
        yield self.stage("cut", cut, solver, 0)
        kept = Problem(objective, {"support": Support.of(cut.weights(model))}, select=self.select)
        yield self.stage("retrain", kept, solver, self.epochs)


@dataclass(frozen=True, kw_only=True)
class NAP(AP):
    """Natural training, one global magnitude cut, natural retraining: no adversary anywhere."""

    natural: ClassVar[bool] = True
