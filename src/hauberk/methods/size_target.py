"""A file of a given size: kept weights and codebook bits are chosen for every layer.

    min_w E max_{x' ∈ Δ(x)} loss(f_w, x', y)   s.t.  bytes of the file that holds w ≤ B

This is hauberk's own method; it comes from no paper. Before each stage the knapsack of `ByteBudget`
is solved anew on the current weights: on the dense net by angles, for the layers' parts of an ℓ0
budget that falls to twice the bytes; then by the measured distortion of each layer, for the rest of
the way, for the codebooks, and, by the codec's exact length, for the excess that remains. Lazy
projection, as in `ATMC`. With ``slim`` dead channels are removed before codebooks are planned, and
the bytes of their biases buy weights.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from torch import nn

from hauberk.allocation.byte_budget import ByteBudget
from hauberk.allocation.costs import FileCosts, codec
from hauberk.allocation.sensitivity import measured
from hauberk.allocation.tensors import CodedTensors
from hauberk.artifact import dense_bytes
from hauberk.dataset import Examples
from hauberk.method import Compression
from hauberk.ops.sizes import size_bytes
from hauberk.parametrize import coded
from hauberk.problem import Constraint, Problem
from hauberk.recipe import Packaging
from hauberk.slimming.slim import shrink, slim
from hauberk.solvers import ProjectedGradient
from hauberk.threat import Threat
from hauberk.training.stage import Stage

_FIRST = 2.0
"""Multiple of the bytes at which the first half of the falling budget ends; the second half is
planned by measured distortion."""
_MARGIN = 1.01
"""Plan for 1% more than the budget, because quantisation zeroes some weights; the last stage cuts
the excess."""
_USED = 0.975
"""Least fraction of the budget that is used; below it the plan is made again with a larger one."""


@dataclass(frozen=True, kw_only=True)
class SizeTarget(Compression):
    """The best network that fits into a file of the given size.

    Attributes:
        size: of the whole file: 20kB, or a fraction of the dense float32 bytes, 1%.
        most_bits: largest number of bits of a codebook index; 1 to 8.
        codebook_epochs: passes under the codebooks, after ``epochs`` under the falling budget.
    """

    size: str = "2%"
    most_bits: int = 8
    codebook_epochs: int = 5
    packaging: Packaging = Packaging()

    def __post_init__(self) -> None:
        size_bytes(self.size, 1 << 30)
        ByteBudget(1, codec(self.packaging.half), self.most_bits)
        if self.codebook_epochs < 0:
            given = self.codebook_epochs
            raise ValueError(f"codebook_epochs was given as {given}; give 0 or more.")

    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        """The falling budget, planned by angles, then by distortion; the codebooks; the excess."""
        objective, names = self.objective(threat), coded(model, self.select(model))
        example = sample.images(slice(1))
        blind = CodedTensors(model, names, self.most_bits, self.packaging.half)
        lazy = ProjectedGradient(self.optimisation.descent(0.5), lazy=True)

        def problem(sets: Mapping[str, Constraint]) -> Problem:
            return Problem(objective, sets, select=lambda _: names)

        whole = dense_bytes(model.state_dict()) if self.packaging.slim else None

        def costs() -> FileCosts:
            shipped = slim(model, example) if self.packaging.slim else model
            return FileCosts.of(shipped, sample, names, self.packaging.half, whole)

        def left_bits(multiple: float) -> int:
            return self._left_bits(costs(), multiple)

        def seeing() -> CodedTensors:
            return replace(
                blind, distortions=measured(blind, objective, sample, self.training_attack.reuse)
            )

        first = self.optimisation.epochs // 2
        if first:
            plan = blind.budget(left_bits(_FIRST)).plan(blind.detached)
            yield self.stage("sparse", problem({"budget": blind.sparser(plan)}), lazy, first)
        tensors = seeing() if first else blind
        plan = tensors.budget(left_bits(1.0)).plan(tensors.detached)
        sparser = problem({"budget": tensors.sparser(plan)})
        yield self.stage("sparser", sparser, lazy, self.optimisation.epochs - first)
        if self.packaging.slim:
            shrink(model, example)

        tensors, margin = seeing(), _MARGIN
        before = copy.deepcopy(model.state_dict())
        for name in ("codebook", "codebook again", "codebook once more"):
            model.load_state_dict(before)
            plan = tensors.budget(left_bits(margin)).fitted_plan(tensors.detached)
            both = problem(tensors.codebooks(plan))
            trained = ProjectedGradient(self.optimisation.descent(0.15), lazy=True)
            yield self.stage(name, both, trained, self.codebook_epochs)
            now = costs()
            used = 8 * (now.file_bytes - now.rest_bytes) / self._left_bits(now, 1.0)
            longest = all(choice.values == 1 << self.most_bits for choice in plan.values())
            if used >= _USED or longest:
                break
            margin *= _MARGIN / used
        if self.packaging.slim:
            shrink(model, example)
        limit, excess = left_bits(1.0), 1
        while excess > 0:  # the writer fills whole bytes: once more for a few of them
            yield self.stage("size", problem({"size": tensors.budget(limit)}), lazy, 0)
            now = costs()
            excess = now.file_bytes - size_bytes(self.size, now.dense_bytes)
            limit -= 8 * excess

    def _left_bits(self, costs: FileCosts, multiple: float) -> int:
        """Bits for the compressed tensors, after everything else in the file."""
        limit = size_bytes(self.size, costs.dense_bytes)
        taken = costs.rest_bytes
        if limit <= taken + len(costs.names):
            raise ValueError(
                f"size was given as {self.size}, {limit:,} bytes, and header, biases and norms "
                f"alone take {taken:,}; give a size well above that."
            )
        return int(8 * (multiple * limit - taken))
