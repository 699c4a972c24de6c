"""Reweighted pruning: a penalty rebuilt from the weights each round; one-shot pruning; retraining.

    min_W E max_{x' ∈ Δ(x)} loss(f_W, x', y) + λ Σ_j P_j |W_j|,    P_j ← 1 / (|W_j| + ε)
    for groups λ Σ_g P_g ‖W_g‖₂, P_g ← 1 / (‖W_g‖₂² + ε);   P is constant within a round

Source: Zhang, Ma, Zhan et al., 2020, arXiv 2004.05531. Small weights are penalised more in the next
round and large ones less, so that pruning removes little that matters.
Departures: the adversary; one budget over all layers, balanced by LAMP, in place of a ratio for
each; and in each round magnitudes are measured in units of the smallest that pruning would then
keep of their layer, so that the penalty separates the weights that will stay from the others. The
penalty is applied by its prox with the learning rate γ after AdamW's step, decoupled like AdamW's
weight decay: for plain descent that is exactly proximal gradient; under Adam a weight rests where
the mean of its gradient is λ P_j times that gradient's root mean square, so that λ is independent
of both scales.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from hauberk.constraints import Codebook, NofM, On, Weight
from hauberk.dataset import Examples
from hauberk.method import Compression
from hauberk.methods._structured import Pruning, remaining
from hauberk.ops.ties import Families, join
from hauberk.penalties import GroupLasso, Lasso, TiedPenalty
from hauberk.penalties.checks import refuse_eps, refuse_strength
from hauberk.problem import Penalty, Problem, Structure
from hauberk.recipe import Packaging
from hauberk.solver import Solver
from hauberk.solvers import ADMM, ProjectedGradient
from hauberk.threat import Threat
from hauberk.training.stage import Stage
from hauberk.types import Weights

_UPDATES = 40
"""Updates of the codebook's duplicate and dual in each stage; each is a k-means."""


@dataclass(frozen=True, kw_only=True)
class Reweighted(Compression):
    """Structured or irregular pruning by a penalty that vanishes for large weights.

    Attributes:
        pattern: irregular, filter, column, channel, bn-filter (batch-norm scales) or block:4x4.
        keep: fraction of the groups that is kept, in (0, 1].
        across: one budget over all layers, balanced by LAMP; off is a budget for each layer.
        static: P stays 1, the plain (group) lasso: the baseline.
        rounds: number of times that the penalty is built from the weights.
        round_epochs: passes in each round; ``epochs`` are those of the retraining.
        strength: λ, 0 or more; 0.3 to 1 work on digits (single weights at 90 and 97% sparsity,
            filters and columns at 70%). It is too weak if ``kept`` in the log is still well above
            keep after the last round: pruning then removes weights that matter.
        eps: ε, in units of the smallest magnitude that is kept of a layer (of groups: squared).
        bits: bits of a codebook index, in the same problem by ADMM, 1 to 16; 0 is no codebook.
        rho: penalty weight of ADMM for the codebook: over one stage the gap to the duplicate would
            shrink by e^rho.
    """

    pattern: str = "irregular"
    keep: float = 0.1
    across: bool = True
    static: bool = False
    rounds: int = 4
    round_epochs: int = 5
    strength: float = 0.5
    eps: float = 0.1
    bits: int = 0
    rho: float = 20.0
    packaging: Packaging = Packaging(slim=True)

    def __post_init__(self) -> None:
        pruning = self._pruning
        ADMM(frozenset(), self.rho)
        if self.bits:
            Codebook(self.bits)
        if self.rounds < 1 or self.round_epochs < 0:
            raise ValueError(
                f"rounds was given as {self.rounds} and round_epochs as {self.round_epochs}; give "
                "1 round or more of 0 epochs or more."
            )
        if isinstance(pruning.groups, NofM):
            raise ValueError(
                f"The pattern {self.pattern} keeps a part of each group, which no penalty on "
                "groups expresses; give irregular, filter, column, channel or a block."
            )
        refuse_strength(self.strength)
        refuse_eps(self.eps)

    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        """The rounds; one-shot pruning; the retraining."""
        example = sample.images(slice(1))
        objective, ties = self.objective(threat), self._pruning.tied(model, example)
        pruned = frozenset(name for tie in ties for name in tie)
        coded = [name for name in self.select(model) if self.bits and name not in pruned]
        names = [*(name for tie in ties for name in tie), *coded]

        def problem(**structures: Structure) -> Problem:
            codebook = {"codebook": Codebook(self.bits)} if self.bits else {}
            return Problem(objective, structures | codebook, select=lambda _: names)

        def weights() -> Weights:
            return {n: p for n, p in problem().weights(model).items() if n in pruned}

        def cut() -> On:
            return On(self._pruning.budget(ties, weights()), pruned)

        cut()  # raise its errors before any training
        for number in range(1, self.rounds + 1):
            penalised = problem(penalty=self._penalty(weights(), ties))
            yield self.stage(f"round {number}", penalised, self._solver(0.5), self.round_epochs)
        yield self.stage("cut", problem(pattern=cut()), self._solver(), 0)
        kept = remaining(model, weights(), example if self.packaging.slim else None)
        retraining = problem(support=On(kept, pruned))
        yield self.stage("retrain", retraining, self._solver(), self.optimisation.epochs)

    def _penalty(self, w: Weights, ties: Families) -> Penalty:
        """The penalty for one round, built from ``w``."""
        pruning, groups = self._pruning, self._pruning.groups

        def scales() -> Mapping[str, float]:
            return pruning.scales(ties, w)

        if isinstance(groups, Weight):
            if self.static:
                return Lasso.static(self.strength, w)
            return Lasso.reweighted(self.strength, w, scales(), self.eps)
        tree = join(w, ties) if pruning.by_filter else w
        if self.static:
            penalty = GroupLasso.static(self.strength, groups, tree)
        else:
            penalty = GroupLasso.reweighted(self.strength, groups, tree, scales(), self.eps)
        return TiedPenalty(penalty, ties) if pruning.by_filter else penalty

    def _solver(self, fraction: float = 1.0) -> Solver[Any]:
        descent = self.optimisation.descent(fraction)
        if not self.bits:
            return ProjectedGradient(descent)
        return ADMM(frozenset({"codebook"}), self.rho, rounds=_UPDATES, descent=descent)

    @property
    def _pruning(self) -> Pruning:
        return Pruning(self.pattern, self.keep, self.across, self.select)
