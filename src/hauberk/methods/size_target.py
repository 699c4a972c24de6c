"""A file of so many bytes: kept weights and bits of every layer are hauberk's own choice.

    min_w E max_{x' ∈ Δ(x)} loss(f_w, x', y)   s.t.  bytes of the file that holds w ≤ B

No system that we implement asks for this. For each leg the knapsack of `ByteBudget` is solved again
on the weights as they then are: on the dense net by angles, for the layers' shares of an ℓ0 budget
that falls to twice the bytes; then by the harm that cuts of each layer were measured to do, for the
shares of what is left, for the codebooks, and, by the codec's own length, for what is still over.
Lazy projection, as in `ATMC`. With ``slim`` dead channels leave before codebooks are planned, and
the bytes of their biases buy weights.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from torch import nn

from hauberk.allocation.byte_budget import ByteBudget
from hauberk.allocation.costs import Prices, codec
from hauberk.allocation.sensitivity import measured
from hauberk.allocation.tensors import Packing
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
"""Of the bytes, what the first half of the falling budget ends with: the second is the better
informed."""
_MARGIN = 1.01
"""Of the bytes are planned for: under the codebook some weights become zeros; the last leg cuts
what is too much."""
_USED = 0.975
"""Of the bytes, at least: where training left more unused, the plan was too modest."""


@dataclass(frozen=True, kw_only=True)
class SizeTarget(Compression):
    """The best network that fits into a file of the given size.

    Attributes:
        size: of the whole file: 20kB, or a share of the dense float32 bytes, 1%.
        most_bits: of a codebook, at most; 1 to 8.
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
        """The falling budget, half of it by angles; the codebooks; what is still over."""
        objective, names = self.objective(threat), coded(model, self.select(model))
        example = sample.images(slice(1))
        blind = Packing(model, names, self.most_bits, self.packaging.half)
        lazy = ProjectedGradient(self.optimisation.descent(0.5), lazy=True)

        def problem(sets: Mapping[str, Constraint]) -> Problem:
            return Problem(objective, sets, select=lambda _: names)

        whole = dense_bytes(model.state_dict()) if self.packaging.slim else None

        def prices() -> Prices:
            shipped = slim(model, example) if self.packaging.slim else model
            return Prices.of(shipped, sample, names, self.packaging.half, whole)

        def left_bits(share: float) -> int:
            return self._left_bits(prices(), share)

        def seeing() -> Packing:
            return replace(
                blind, harms=measured(blind, objective, sample, self.training_attack.reuse)
            )

        first = self.optimisation.epochs // 2
        if first:
            plan = blind.budget(left_bits(_FIRST)).plan(blind.detached)
            yield self.stage("sparse", problem({"budget": blind.sparser(plan)}), lazy, first)
        packing = seeing() if first else blind
        plan = packing.budget(left_bits(1.0)).plan(packing.detached)
        sparser = problem({"budget": packing.sparser(plan)})
        yield self.stage("sparser", sparser, lazy, self.optimisation.epochs - first)
        if self.packaging.slim:
            shrink(model, example)

        packing, margin = seeing(), _MARGIN
        before = copy.deepcopy(model.state_dict())
        for leg in ("codebook", "codebook again", "codebook once more"):
            model.load_state_dict(before)
            plan = packing.budget(left_bits(margin)).fitted_plan(packing.detached)
            both = problem(packing.codebooks(plan))
            trained = ProjectedGradient(self.optimisation.descent(0.15), lazy=True)
            yield self.stage(leg, both, trained, self.codebook_epochs)
            now = prices()
            used = 8 * (now.file_bytes - now.rest_bytes) / self._left_bits(now, 1.0)
            longest = all(choice.values == 1 << self.most_bits for choice in plan.values())
            if used >= _USED or longest:
                break
            margin *= _MARGIN / used
        if self.packaging.slim:
            shrink(model, example)
        limit, excess = left_bits(1.0), 1
        while excess > 0:  # the writer fills whole bytes: once more for a few of them
            yield self.stage("size", problem({"size": packing.budget(limit)}), lazy, 0)
            now = prices()
            excess = now.file_bytes - size_bytes(self.size, now.dense_bytes)
            limit -= 8 * excess

    def _left_bits(self, prices: Prices, share: float) -> int:
        """What the file has for the tensors that are compressed, once all else is in it."""
        limit = size_bytes(self.size, prices.dense_bytes)
        taken = prices.rest_bytes
        if limit <= taken + len(prices.names):
            raise ValueError(
                f"size was given as {self.size}, {limit:,} bytes, and header, biases and norms "
                f"alone take {taken:,}; give a size well above that."
            )
        return int(8 * (share * limit - taken))
