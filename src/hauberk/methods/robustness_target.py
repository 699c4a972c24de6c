"""The smallest file that still meets a target of robustness: the bytes are minimised, not given.

    min_w bits(w)   s.t.   1 − robust(w) ≤ 1 − target,   robust measured on held-out examples

Source: van Rozendaal, Sautière and Cohen, 2020, arXiv 2005.04064, with bits for the rate and the
robust error for the distortion. Three steps:

1. `DualAscent` shrinks the net, from the sparsity at which one-shot pruning alone still meets the
   target. The weights see `Rate` and the adversarial loss; the multiplier sees the robust error of
   the rounded net on validation examples. Weights below the magnitude at which `Rate` drops them
   are zero, and may return (lazy, as in `ProjectedGradient`). The result is an estimate of the
   size.
2. The dense net is brought to twice that size. From there each stage trains one real file under a
   `ByteBudget` that is planned by measured distortion, as `SizeTarget` does. After a file that met
   the target the budget falls and training continues from it; after one that did not, the budget
   rises (`SizeSearch`).
3. The smallest file that met the target is trimmed, by a twentieth at first and by half as much
   after each failure (`TrimSearch`), where pruning was measured to cost least
   (`least_distorting`), and ships.

Departure: the loss that the weights see is no estimate of the bounded error, it only gives the
direction; the search measures the error itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from hauberk.allocation.byte_budget import ByteBudget, Choice
from hauberk.allocation.costs import FileCosts
from hauberk.allocation.distortion import Distortion
from hauberk.allocation.forms import FileForm, HbkForm
from hauberk.allocation.search import RobustAccuracy, RobustTarget, SizeSearch, TrimSearch
from hauberk.allocation.sensitivity import least_distorting, measured
from hauberk.allocation.tensors import CodedTensors, HardThreshold
from hauberk.dataset import Examples
from hauberk.method import Compression
from hauberk.objectives import Held, Rate
from hauberk.parametrize import coded
from hauberk.problem import Constraint, Objective, Problem
from hauberk.recipe import Packaging
from hauberk.recipe.packaging import HBK
from hauberk.solvers import DualAscent, ProjectedGradient
from hauberk.threat import Threat
from hauberk.training.stage import Stage

_START, _SPEED, _LOOKS = 0.1, 0.6, 30
"""Start, speed and looks of the multiplier. The rate is a logarithm of bits, so that λ has this
order of magnitude for any network. Higher speeds oscillated between too robust and too small."""
_LOOK_EXAMPLES = 500
_HALVINGS = 12
"""Most halvings of the weights by one-shot pruning, before any training."""
_FIRST = 2.0
"""The search starts at this multiple of the bytes that the multiplier ends with. Its own net is
allocated by magnitude alone; files that were trained from it were nearly twice as large."""
_TRIMS = 8
"""Most trims of the smallest file; each removes a few weights and trains the codebooks again."""
_MARGIN = 0.99
"""Fraction of the budget to plan for: the entropy of the codes still changes under the codebook."""


@dataclass(frozen=True, kw_only=True)
class RobustnessTarget(Compression):
    """The smallest file that withstands the attack on a given fraction of the inputs.

    Attributes:
        robust_at_least: fraction of new inputs that are classified correctly under attack, such
            as 90% or 0.9.
        confidence: with which the target is met, within one point, on inputs like the validation
            split's; from 0.5 to below 1.
        epochs: passes in which the multiplier estimates the size, and as many in which the
            network is brought to twice that size.
        codebook_epochs: passes with codebooks in each stage of the search, after four times as
            many under its falling budget (twice as many were too few), and in each trim.
        search_stages: largest number of stages of the search.
        most_bits: largest number of bits of a codebook index; 1 to 8.
        judge_steps: PGD steps with which robustness is measured between the stages.
    """

    robust_at_least: float = 0.8
    confidence: float = 0.95
    codebook_epochs: int = 5
    search_stages: int = 9
    most_bits: int = 8
    judge_steps: int = 40
    packaging: Packaging = Packaging()

    def __post_init__(self) -> None:
        self._target(1)
        if self.packaging.ship != HBK:
            raise ValueError(
                f"ship was given as {self.packaging.ship} with robust_at_least, which makes the "
                ".hbk as small as it can; leave ship out, and export that file."
            )
        ByteBudget(1, self._form.codec, self.most_bits)
        if self.codebook_epochs < 0 or self.search_stages < 1 or self.judge_steps < 1:
            raise ValueError(
                f"codebook_epochs was given as {self.codebook_epochs}, search_stages as "
                f"{self.search_stages} and judge_steps as {self.judge_steps}; give 0, 1 and 1 or "
                "more."
            )

    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        """The multiplier's estimate, one-shot pruning, the search, the trims."""
        held_out = sample.held_out if sample.held_out is not None else sample.first(0)
        target, objective = self._target(len(held_out)), self.objective(threat)
        yield self.stage(
            "start", Problem(objective), ProjectedGradient(self.optimisation.descent()), 0
        )
        robust_accuracy = RobustAccuracy(threat, held_out, self.judge_steps, self.packaging.half)
        target.refuse_above(robust_accuracy(model))
        names = coded(model, self.select(model))
        tensors = CodedTensors(model, names, self.most_bits, self._form)
        best = _Best(tensors, lambda net: robust_accuracy(net).accuracy, target.need)
        rest = FileCosts.of(model, sample, tensors.names, self._form).rest_bytes
        rates = tensors.rates(tensors.pruned(best.cut_alone()))
        rate = Rate(rates, 8 * rest)
        quick = replace(robust_accuracy, examples=held_out.first(_LOOK_EXAMPLES))

        def error(net: nn.Module) -> float:
            """Robust error of the net without the weights that the rate drops, in a codebook."""
            live = replace(tensors, model=net)
            return 1 - quick(live.copy(live.kept(rates))).accuracy

        bound = Held(objective).bound(error, max(1 - target.need, 1 / len(held_out)))
        shrink = Problem(
            rate, {"given up": HardThreshold(rates)}, {"robust": bound}, lambda _: tensors.names
        )
        # an average would fall below the thresholds
        last = replace(self.optimisation.descent(0.5), average=0.0)
        dense = copy.deepcopy(model.state_dict())
        solver = DualAscent(last, start=_START, speed=_SPEED, looks=_LOOKS, lazy=True)
        yield self.stage("shrink", shrink, solver, self.optimisation.epochs)
        bits = tensors.length(tensors.kept(rates))
        model.load_state_dict(dense)
        yield from self._close(objective, best, bits, sample)

    def _close(
        self, objective: Objective, best: _Best, bits: float, sample: Examples
    ) -> Iterator[Stage]:
        """Prune to twice ``bits``; train one file for a budget, measure it, change the budget."""
        tensors, model = best.tensors, best.tensors.model
        search = SizeSearch(best.need, max(bits, best.least), met=best.bits, least=best.least)

        def budget(bits: float, distortions: Mapping[str, Distortion]) -> ByteBudget:
            return replace(tensors, distortions=distortions).budget(bits)

        def seen() -> Mapping[str, Distortion]:
            return measured(tensors, objective, sample, self.training_attack.reuse)

        def trained(
            name: str, sets: Mapping[str, Constraint], fraction: float, epochs: int
        ) -> Stage:
            return self._stage(name, objective, tensors, sets, fraction, epochs)

        plan = budget(_FIRST * search.bits, {}).plan(tensors.detached)
        yield trained("sparse", {"budget": tensors.sparser(plan)}, 0.5, self.optimisation.epochs)
        start, distortions = copy.deepcopy(model.state_dict()), seen()
        for number in range(1, self.search_stages + 1):
            if search.closed:
                break
            model.load_state_dict(start)
            plan = budget(_MARGIN * search.bits, distortions).plan(tensors.detached)
            sparse = {"budget": tensors.sparser(plan)}
            yield trained(f"sparser {number}", sparse, 0.5, 4 * self.codebook_epochs)
            sparser, now = copy.deepcopy(model.state_dict()), seen()
            plan = budget(_MARGIN * search.bits, now).fitted_plan(tensors.detached)
            name, books = f"codebook {number}", tensors.codebooks(plan)
            yield trained(name, books, 0.15, self.codebook_epochs)
            yield trained(f"{name}, size", {"size": budget(search.bits, now)}, 0.15, 0)
            robust = best.look()
            search.note(robust, tensors.length_bits)
            start, distortions = (sparser, now) if robust >= best.need else (start, distortions)
        yield from self._trim(objective, best, distortions, sample)

    def _trim(
        self,
        objective: Objective,
        best: _Best,
        distortions: Mapping[str, Distortion],
        sample: Examples,
    ) -> Iterator[Stage]:
        """Remove ever less from the smallest file, each time where it distorts least."""
        tensors, trimming = best.tensors, TrimSearch(best.least)

        def best_plan(limit: float) -> Mapping[str, Choice]:
            together = (
                replace(tensors, distortions=distortions)
                .budget(limit)
                .fitted_plan(tensors.detached)
            )
            plans = [together, *tensors.trims(limit)]
            return least_distorting(tensors, plans, objective, sample, self.training_attack.reuse)

        for number in range(1, _TRIMS + 1):
            tensors.model.load_state_dict(best.state)
            limit = trimming.limit(best.bits)
            if limit is None:
                break
            books = tensors.codebooks(best_plan(limit))
            name, epochs = f"trim {number}", self.codebook_epochs
            yield self._stage(name, objective, tensors, books, 0.15, epochs)
            if tensors.length_bits > limit:  # the entropy of the codes has moved
                tensors.take(best_plan(limit))
            trimming.note(best.look() >= best.need)
        tensors.model.load_state_dict(best.state)

    def _stage(
        self,
        name: str,
        objective: Objective,
        tensors: CodedTensors,
        sets: Mapping[str, Constraint],
        fraction: float,
        epochs: int,
    ) -> Stage:
        """Train in these sets, lazily, at a fraction of the peak learning rate."""
        problem = Problem(objective, sets, select=lambda _: tensors.names)
        solver = ProjectedGradient(self.optimisation.descent(fraction), lazy=True)
        return self.stage(name, problem, solver, epochs)

    def passes(self, trained: bool) -> int:
        """Those of the estimate and the pruning, and of each stage of the search."""
        again = self.optimisation.epochs + (5 * self.search_stages - 1) * self.codebook_epochs
        return super().passes(trained) + again

    @property
    def _form(self) -> FileForm:
        return HbkForm(self.packaging.half)

    def _target(self, n: int) -> RobustTarget:
        return RobustTarget(self.robust_at_least, self.confidence, n)


class _Best:
    """The smallest network so far that met the target.

    Args:
        tensors: of the network in training, which is the first candidate.
        robust: measures the robust accuracy of a network.
        need: the robust accuracy that meets the target.
    """

    def __init__(
        self, tensors: CodedTensors, robust: Callable[[nn.Module], float], need: float
    ) -> None:
        self.tensors, self.robust, self.need = tensors, robust, need
        self.least = 2 * tensors.least_bits
        self._take(tensors.model)

    def cut_alone(self) -> float:
        """The smallest fraction of the weights, by halving, that meets the target untrained."""
        keep = 1.0
        for _ in range(_HALVINGS):
            pruned = self.tensors.pruned(keep / 2)
            net = self.tensors.copy(pruned)
            if not all(t.any() for t in pruned.values()) or self.robust(net) < self.need:
                break
            self._take(net)
            keep /= 2
        return keep

    def look(self) -> float:
        """The robust accuracy of the network in training; the smallest that meets it is kept."""
        robust = self.robust(self.tensors.model)
        if robust >= self.need and self.tensors.length_bits < self.bits:
            self._take(self.tensors.model)
        return robust

    def _take(self, net: nn.Module) -> None:
        self.state: dict[str, Any] = copy.deepcopy(net.state_dict())
        self.bits = replace(self.tensors, model=net).length_bits
