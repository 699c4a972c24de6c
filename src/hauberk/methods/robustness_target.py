"""The smallest file whose robustness still meets a target: bytes are minimised, not given.

    min_w bits(w)   s.t.   1 − robust(w) ≤ 1 − target,   robust measured on held-out examples

Source: van Rozendaal, Sautière and Cohen, 2020, arXiv 2005.04064, with bits for the rate and the
robust error for the distortion. First the multiplier: `DualAscent` shrinks the net, from the
sparsity that a cut alone survives; the weights see `Rate` and the adversarial loss, the multiplier
the robust error of the rounded net on validation examples. What falls below the magnitude at which
`Rate` gives a weight up is out, and may come back (lazy, as in `ProjectedGradient`). Its end says
how large the file about is. Then the search closes on real files: the dense net is brought to twice
that size, and from there each leg trains one under a `ByteBudget` planned by measured harm, as
`SizeTarget` does; the budget falls where the file met the target, and goes on from it, and rises
where it did not (`Descending`). The smallest that met it is trimmed, first by a twentieth at a
time, then by half as much after each failure (`Trimming`), where a cut was measured to cost least
(`mildest`), and ships.
Departure: the loss that the weights see is no estimate of the error that is bounded, only its
direction, which is what closing the loop on the strict value allows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from hauberk.allocation.byte_budget import ByteBudget, Choice
from hauberk.allocation.costs import Prices, codec
from hauberk.allocation.distortion import Harm
from hauberk.allocation.search import Descending, Judge, RobustTarget, Trimming
from hauberk.allocation.sensitivity import measured, mildest
from hauberk.allocation.tensors import GivenUp, Packing
from hauberk.dataset import Examples
from hauberk.method import Compression
from hauberk.objectives import Held, Rate, Teacher
from hauberk.parametrize import coded
from hauberk.problem import Bound, Constraint, Objective, Problem
from hauberk.recipe import Packaging
from hauberk.solvers import DualAscent, ProjectedGradient
from hauberk.threat import Threat
from hauberk.training.stage import Stage

_START, _SPEED, _LOOKS = 0.1, 0.6, 30
"""Of the multiplier: the rate is a logarithm of bits, so that λ is of this size for any network. At
a higher speed it swung from far too robust to far too small."""
_LOOK_EXAMPLES = 500
_HALVINGS = 12
"""Of the weights, at most, before any training."""
_FIRST = 2.0
"""Of the bytes that the multiplier ends with: from there the search begins. Its own net gives each
layer a share by magnitude alone; files that went on from it were nearly twice as large."""
_TRIMS = 8
"""Of the smallest file, at most: few weights less each time, and the codebooks again."""
_MARGIN = 0.99
"""Of the bytes are planned for: under the codebook the entropy of its codes still moves."""


@dataclass(frozen=True, kw_only=True)
class RobustnessTarget(Compression):
    """The smallest file that withstands the attack on a given share of the inputs.

    Attributes:
        robust_at_least: the share of new inputs that are right under attack, 90% or 0.9.
        confidence: with which it is met, within one point, on inputs like the validation split's.
        epochs: passes in which the multiplier finds about how small, and as many in which the
            network comes to twice that size.
        codebook_epochs: passes with codebooks of each leg that closes on the smallest file, after
            four times as many under its falling budget: with twice as many, legs fell short; and
            of each trim of the smallest.
        legs: how many of these there are, at most.
        most_bits: of a codebook, at most; 1 to 8.
        judge_steps: PGD steps with which robustness is measured between the legs.
    """

    robust_at_least: float = 0.8
    confidence: float = 0.95
    codebook_epochs: int = 5
    legs: int = 9
    most_bits: int = 8
    judge_steps: int = 40
    packaging: Packaging = Packaging()

    def __post_init__(self) -> None:
        self._target(1)
        ByteBudget(1, codec(self.packaging.half), self.most_bits)
        if self.codebook_epochs < 0 or self.legs < 1 or self.judge_steps < 1:
            raise ValueError(
                f"codebook_epochs was given as {self.codebook_epochs}, legs as {self.legs} and "
                f"judge_steps as {self.judge_steps}; give 0, 1 and 1 or more."
            )

    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        """To the device; the multiplier's leg; a cut; legs that close on the smallest file."""
        held_out = sample.held_out if sample.held_out is not None else sample.first(0)
        target, objective = self._target(len(held_out)), self.objective(threat)
        yield self.stage(
            "start", Problem(objective), ProjectedGradient(self.optimisation.descent()), 0
        )
        judge = Judge(threat, held_out, self.judge_steps, self.packaging.half)
        target.refuse_above(judge(model))
        packing = Packing(
            model, coded(model, self.select(model)), self.most_bits, self.packaging.half
        )
        best = _Best(packing, lambda net: judge(net).accuracy, target.need)
        rest = Prices.of(model, sample, packing.names, self.packaging.half).rest_bytes
        tariffs = packing.tariffs(packing.lean(best.cut_alone()))
        rate = Rate(tariffs, 8 * rest)
        quick = replace(judge, examples=held_out.first(_LOOK_EXAMPLES))

        def error(net: nn.Module) -> float:
            """Of the net without the weights that the rate has given up, and in a codebook."""
            live = replace(packing, model=net)
            return 1 - quick(live.copy(live.kept(tariffs))).accuracy

        bound = Held(objective).bound(error, max(1 - target.need, 1 / len(held_out)))
        shrink = Problem(
            rate, {"given up": GivenUp(tariffs)}, {"robust": bound}, lambda _: packing.names
        )
        last = replace(
            self.optimisation.descent(0.5), average=0.0
        )  # a mean would fall below the thresholds
        dense = copy.deepcopy(model.state_dict())
        solver = DualAscent(last, start=_START, speed=_SPEED, looks=_LOOKS, lazy=True)
        yield self.stage("shrink", shrink, solver, self.optimisation.epochs)
        bits = packing.length(packing.kept(tariffs))
        model.load_state_dict(dense)
        yield from self._close(objective, best, bits, sample)

    def distilled(self, stages: Iterator[Stage], teacher: Teacher) -> Iterator[Stage]:
        """The same legs; in the first, the bound's surrogate is what is taught."""

        def lesson(bound: Bound) -> Bound:
            assert isinstance(bound.surrogate, Held)
            return replace(
                bound,
                surrogate=Held(self.distillation.distilled(bound.surrogate.objective, teacher)),
            )

        for stage in stages:
            bounds = {name: lesson(b) for name, b in stage.problem.bounds.items()}
            if bounds:
                yield replace(stage, problem=replace(stage.problem, bounds=bounds))
            else:
                yield from super().distilled(iter([stage]), teacher)

    def _close(
        self, objective: Objective, best: _Best, bits: float, sample: Examples
    ) -> Iterator[Stage]:
        """Cut to twice so many bits; train in a file of so many, look, ask for fewer or more."""
        packing, model = best.packing, best.packing.model
        search = Descending(best.need, max(bits, best.least), met=best.bits, least=best.least)

        def budget(bits: float, harms: Mapping[str, Harm]) -> ByteBudget:
            return replace(packing, harms=harms).budget(bits)

        def seen() -> Mapping[str, Harm]:
            return measured(packing, objective, sample, self.training_attack.reuse)

        def leg(name: str, sets: Mapping[str, Constraint], share: float, epochs: int) -> Stage:
            return self._leg(name, objective, packing, sets, share, epochs)

        plan = budget(_FIRST * search.bits, {}).plan(packing.detached)
        yield leg("sparse", {"budget": packing.sparser(plan)}, 0.5, self.optimisation.epochs)
        start, harms = copy.deepcopy(model.state_dict()), seen()
        for number in range(1, self.legs + 1):
            if search.closed:
                break
            model.load_state_dict(start)
            plan = budget(_MARGIN * search.bits, harms).plan(packing.detached)
            sparse = {"budget": packing.sparser(plan)}
            yield leg(f"sparser {number}", sparse, 0.5, 4 * self.codebook_epochs)
            sparser, now = copy.deepcopy(model.state_dict()), seen()
            plan = budget(_MARGIN * search.bits, now).fitted_plan(packing.detached)
            name, books = f"codebook {number}", packing.codebooks(plan)
            yield leg(name, books, 0.15, self.codebook_epochs)
            yield leg(f"{name}, size", {"size": budget(search.bits, now)}, 0.15, 0)
            robust = best.look()
            search.note(robust, packing.length_bits)
            start, harms = (sparser, now) if robust >= best.need else (start, harms)
        yield from self._trim(objective, best, harms, sample)

    def _trim(
        self, objective: Objective, best: _Best, harms: Mapping[str, Harm], sample: Examples
    ) -> Iterator[Stage]:
        """Take ever less off the smallest file, each time what does the least harm."""
        packing, trimming = best.packing, Trimming(best.least)

        def mildest_plan(limit: float) -> Mapping[str, Choice]:
            together = replace(packing, harms=harms).budget(limit).fitted_plan(packing.detached)
            plans = [together, *packing.trims(limit)]
            return mildest(packing, plans, objective, sample, self.training_attack.reuse)

        for number in range(1, _TRIMS + 1):
            packing.model.load_state_dict(best.state)
            limit = trimming.limit(best.bits)
            if limit is None:
                break
            books = packing.codebooks(mildest_plan(limit))
            name, epochs = f"trim {number}", self.codebook_epochs
            yield self._leg(name, objective, packing, books, 0.15, epochs)
            if packing.length_bits > limit:  # the entropy of the codes has moved
                packing.take(mildest_plan(limit))
            trimming.note(best.look() >= best.need)
        packing.model.load_state_dict(best.state)

    def _leg(
        self,
        name: str,
        objective: Objective,
        packing: Packing,
        sets: Mapping[str, Constraint],
        share: float,
        epochs: int,
    ) -> Stage:
        """Train in these sets, lazily, at a share of the peak rate."""
        problem = Problem(objective, sets, select=lambda _: packing.names)
        solver = ProjectedGradient(self.optimisation.descent(share), lazy=True)
        return self.stage(name, problem, solver, epochs)

    def _target(self, n: int) -> RobustTarget:
        return RobustTarget(self.robust_at_least, self.confidence, n)


class _Best:
    """The smallest network so far that met the target.

    Args:
        packing: of the network under way, which is the first one.
        robust: how robust a network is.
        need: the robustness that meets the target.
    """

    def __init__(self, packing: Packing, robust: Callable[[nn.Module], float], need: float) -> None:
        self.packing, self.robust, self.need = packing, robust, need
        self.least = 2 * packing.least_bits
        self._take(packing.model)

    def cut_alone(self) -> float:
        """The least share of the weights, by halves, with which it is met without training."""
        keep = 1.0
        for _ in range(_HALVINGS):
            lean = self.packing.lean(keep / 2)
            net = self.packing.copy(lean)
            if not all(t.any() for t in lean.values()) or self.robust(net) < self.need:
                break
            self._take(net)
            keep /= 2
        return keep

    def look(self) -> float:
        """How robust the network under way is; the smallest that meets the target is kept."""
        robust = self.robust(self.packing.model)
        if robust >= self.need and self.packing.length_bits < self.bits:
            self._take(self.packing.model)
        return robust

    def _take(self, net: nn.Module) -> None:
        self.state: dict[str, Any] = copy.deepcopy(net.state_dict())
        self.bits = replace(self.packing, model=net).length_bits
