"""A file of so many bytes: kept weights and bits of every layer are hauberk's own choice.

    min_w E max_{x' ∈ Δ(x)} loss(f_w, x', y)   s.t.  bytes of the file that holds w ≤ B

No system that we implement asks for this. For each leg the knapsack of `ByteBudget` is solved again
on the weights as they then are: on the dense net for the layers' shares of a falling ℓ0 budget, on
the sparse one for its bits, and at the end, by the
codec's own length, for what is still over. Lazy projection, as in `ATMC`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from hauberk.constraints import ByteBudget
from hauberk.methods.method import Compression
from hauberk.methods.packing import Packing
from hauberk.methods.prices import Prices, codec
from hauberk.ops.units import size_bytes
from hauberk.parametrize import coded
from hauberk.problem import Constraint, Problem
from hauberk.solve import Stage
from hauberk.solvers import ProjectedGradient
from hauberk.threat import Threat
from hauberk.types import Examples

_MARGIN = 0.99
"""Of the bytes are planned for: under the codebook the entropy of its codes still moves."""
_USED = 0.975
"""Of the bytes, at least: where training left more unused, the plan was too modest."""


@dataclass(frozen=True, kw_only=True)
class Sized(Compression):
    """The best network that fits into a file of the given size.

    Attributes:
        size: of the whole file: 20kB, or a share of the dense float32 bytes, 1%.
        most_bits: of a codebook, at most; 1 to 8.
        codebook_epochs: passes under the codebooks, after ``epochs`` under the falling budget.
    """

    size: str = "2%"
    most_bits: int = 8
    codebook_epochs: int = 5

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        super().__post_init__()
        size_bytes(self.size, 1 << 30)
        ByteBudget(1, codec(self.half), self.most_bits)
        if self.codebook_epochs < 0:
            given = self.codebook_epochs
            raise ValueError(f"codebook_epochs was given as {given}; give 0 or more.")

    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        """The falling budget; the codebooks; what is still over."""
        objective, epochs = self.objective(threat), self.codebook_epochs
        names = coded(model, self.select(model))
        packing = Packing(model, names, self.most_bits, self.half)
        lazy = ProjectedGradient(self.descent(0.5), lazy=True)

        def problem(sets: Mapping[str, Constraint]) -> Problem:
            return Problem(objective, sets, select=lambda _: names)

        def left_bits(share: float) -> int:
            return self._left_bits(Prices.of(model, sample, names, self.half), share)

        dense = packing.budget(left_bits(_MARGIN)).plan(packing.weights)
        yield self.stage("sparse", problem({"budget": packing.sparser(dense)}), lazy, self.epochs)

        before, margin = copy.deepcopy(model.state_dict()), _MARGIN
        for leg in ("codebook", "codebook again", "codebook once more"):
            model.load_state_dict(before)
            plan = packing.budget(left_bits(margin)).fitted_plan(packing.weights)
            both = problem(packing.codebooks(plan))
            yield self.stage(leg, both, ProjectedGradient(self.descent(0.15), lazy=True), epochs)
            used = packing.length_bits / left_bits(1.0)
            longest = all(choice.values == 1 << self.most_bits for choice in plan.values())
            if used >= _USED or longest:
                break
            margin *= _MARGIN / used
        yield self.stage("size", problem({"size": packing.budget(left_bits(1.0))}), lazy, 0)

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
