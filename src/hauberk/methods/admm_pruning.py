"""Concurrent adversarial training and pruning: ADMM, one-shot pruning, retraining.

    min_W E max_{x' ∈ Δ(x)} loss(f_W, x', y)   s.t.  W_l ∈ S_l for each layer l
    W ← prox of r/2 ‖W − Z + U‖² after a step on the loss,   r = exp(ρ Δt) − 1
    Z ← Π_S(W + U);   U ← U + W − Z;   ρ grows

Source: Ye, Xu, Liu et al., ICCV 2019 (arXiv 1903.12561), and Progressive ADMM (arXiv 1903.09769).
Departures: the paper adds ρ/2 ‖W − Z + U‖² to the loss. Here its pull is a prox of its own after
AdamW's step, for a step that is the fraction Δt of the stage, so that ρ is not the paper's ρ and
has other units (`hauberk.solvers.ADMM`). U carries no graph, and the support that is retrained is
Π_S's own, where the published code differentiates through U and loses ties in its mask. Filters
whose outputs are added are one group. Dead filters are removed before the network is retrained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import nn

from hauberk.dataset import Examples
from hauberk.method import Compression
from hauberk.methods._structured import Pruning, remaining, width_of
from hauberk.ops.ties import Families
from hauberk.problem import Constraint, Problem
from hauberk.recipe import Packaging
from hauberk.solvers import ADMM, ProjectedGradient
from hauberk.threat import Threat
from hauberk.training.stage import Stage
from hauberk.types import Images


@dataclass(frozen=True, kw_only=True)
class ADMMPruning(Compression):
    """Structured or irregular pruning of a robust network, by ADMM.

    Attributes:
        pattern: irregular, filter, column, channel, bn-filter (batch-norm scales), block:4x4, 2:4.
        keep: fraction of each layer's groups that is kept, in (0, 1]; with 2:4, of its runs.
        shrink_to_width: in place of keep: the width of the pruned net, if its family has widths
            (lenet:8 to 1).
        across: one budget over all layers, balanced by LAMP; off is a budget for each layer.
        admm_epochs: passes under ADMM; ``epochs`` are those of the retraining.
        rho: penalty weight of ADMM at its start; not the paper's rho: over one stage the gap to the
            duplicate would shrink by e^rho.
        growth: penalty weight at the end, in multiples of rho.
        rounds: updates of Z and U.
        cuts: number of equal pruning steps to keep: a net that has to lose most of its weights
            (lenet:8 to 1) survives three halvings, but not one step.
        cut_epochs: passes of the retraining after each pruning step but the last.
        retrain_warmup: fraction of the retraining over which eps grows from nothing to its full
            size, for pruning that leaves little of the net.
    """

    pattern: str = "irregular"
    keep: float = 0.25
    shrink_to_width: int = 0
    across: bool = False
    admm_epochs: int = 10
    rho: float = 5.0
    growth: float = 20.0
    rounds: int = 10
    cuts: int = 1
    cut_epochs: int = 10
    retrain_warmup: float = 0.0
    packaging: Packaging = Packaging(slim=True)

    def __post_init__(self) -> None:
        pruning = self._pruning
        ADMM(frozenset(), self.rho, self.growth, self.rounds)
        least = {"admm_epochs": 0, "cut_epochs": 0, "shrink_to_width": 0, "cuts": 1}
        for name, count in least.items():
            if getattr(self, name) < count:
                raise ValueError(
                    f"{name} was given as {getattr(self, name)}; give {count} or more."
                )
        if not 0 <= self.retrain_warmup <= 1:
            raise ValueError(
                f"retrain_warmup was given as {self.retrain_warmup}; give a fraction in [0, 1]."
            )
        if self.shrink_to_width and not pruning.by_filter:
            raise ValueError(
                f"shrink_to_width was given with the pattern {self.pattern}, which leaves a net as "
                "wide as it is; give the pattern filter or bn-filter."
            )

    def passes(self, trained: bool) -> int:
        """Those of each pruning step and its retraining."""
        more = self.admm_epochs + self.cut_epochs
        return super().passes(trained) - self.cut_epochs + (self.cuts - 1) * more

    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        """For each pruning step: ADMM, which ends with the pruning; then retraining."""
        example = sample.images(slice(1))
        fraction, whole = self._fraction(model), 0
        for number in range(1, self.cuts + 1):
            ties = self._pruning.tied(model, example)
            now = self._pruning.count(model, ties)  # filters may have been removed
            whole = whole or now
            keep = min(1.0, fraction ** (number / self.cuts) * whole / now)
            yield from self._cut(model, threat, example, ties, keep, number)

    def _cut(
        self,
        model: nn.Module,
        threat: Threat,
        example: Images,
        ties: Families,
        keep: float,
        number: int,
    ) -> Iterator[Stage]:
        names = [name for tie in ties for name in tie]

        def problem(warmup: float = 0.0, **sets: Constraint) -> Problem:
            return Problem(self.objective(threat, warmup), sets, select=lambda _: names)

        last, mark = number == self.cuts, f" {number}" if self.cuts > 1 else ""
        pruning = replace(self._pruning, keep=keep)
        pattern = pruning.budget(ties, problem().weights(model))
        descent = self.optimisation.descent(0.5)
        admm = ADMM(frozenset({"pattern"}), self.rho, self.growth, self.rounds, descent)
        yield self.stage(f"admm{mark}", problem(pattern=pattern), admm, self.admm_epochs)
        support = remaining(model, names, example if self.packaging.slim else None)
        retraining = problem(self.retrain_warmup if last else 0.0, support=support)
        solver = ProjectedGradient(self.optimisation.descent())
        epochs = self.optimisation.epochs if last else self.cut_epochs
        yield self.stage(f"retrain{mark}", retraining, solver, epochs)

    @property
    def _pruning(self) -> Pruning:
        return Pruning(self.pattern, self.keep, self.across, self.select)

    def _fraction(self, model: nn.Module) -> float:
        """``keep``, or the fraction that leads to the wanted width."""
        wanted, width = self.shrink_to_width, width_of(model)
        if not wanted:
            return self.keep
        if width is None or wanted > width:
            raise ValueError(
                f"shrink_to_width was given as {wanted}, and the network "
                f"{f'has width {width}' if width else 'was not built with a width'}; give a width "
                "up to that of a network such as lenet:8, or give keep."
            )
        return wanted / width
