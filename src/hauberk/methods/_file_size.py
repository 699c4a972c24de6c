"""The stages that bring a trained network into a file of a given number of bytes.

    min_w E max_{x' ∈ Δ(x)} loss(f_w, x', y)   s.t.  bytes of the file that holds w ≤ B

Before each stage the knapsack of `ByteBudget` is solved anew on the current weights; see
`hauberk.methods.size_target`. Bytes move freely between all tensors of the network: those of an
ensemble's members share one budget.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import nn

from hauberk.allocation.byte_budget import ByteBudget, Choice
from hauberk.allocation.costs import FileCosts
from hauberk.allocation.forms import FileForm, HbkForm
from hauberk.allocation.sensitivity import measured
from hauberk.allocation.tensors import CodedTensors
from hauberk.artifact import dense_bytes
from hauberk.constraints import Support, UniformGrid
from hauberk.dataset import Examples
from hauberk.method import Method
from hauberk.methods._grid import grid_stage
from hauberk.methods._narrow import Narrowing
from hauberk.ops.sizes import size_bytes
from hauberk.parametrize import Selection, coded, dense_line, dense_parts
from hauberk.problem import Constraint, Objective, Problem
from hauberk.recipe import Limits
from hauberk.slimming.slim import shrink, slim
from hauberk.solvers import ProjectedGradient
from hauberk.training.stage import Stage
from hauberk.types import Images

_FIRST = 2.0
"""Multiple of the bytes at which the first half of the falling budget ends; the second half is
planned by measured distortion."""
_MARGIN = 1.01
"""Plan for 1% more than the budget, because quantisation zeroes some weights; the last stage cuts
the excess."""
_ESTIMATED = 1.1
"""The same where no longer codebook can use what estimated costs leave."""
_USED = 0.975
"""Least fraction of the budget that is used; below it the plan is made again with a larger one."""


@dataclass(frozen=True)
class FileSize:
    """A budget in bytes for the file of one network, and the stages that reach it.

    Attributes:
        size: of the whole file: 20kB, or a fraction of the dense float32 bytes, 1%.
        most_bits: largest number of bits of a codebook index.
        codebook_epochs: passes under the codebooks, after those under the falling budget.
        select: which parameters are compressed.
        method: gives epochs, learning rate, packaging and training attack.
        objective: what is minimised.
        model: the network, not a copy.
        sample: a few training examples, to price the file and measure distortion.
        form: of the file that ships; with bits of a grid, that grid takes the codebooks' place.
        per_channel: whether each output of a layer has a scale of its own on the grid.
        limits: what the network may need besides.
    """

    size: str
    most_bits: int
    codebook_epochs: int
    select: Selection
    method: Method
    objective: Objective
    model: nn.Module
    sample: Examples
    form: FileForm
    per_channel: bool = True
    limits: Limits = field(default_factory=Limits)
    _seen: dict[tuple[torch.Size, ...], FileCosts] = field(
        default_factory=dict, init=False, repr=False
    )

    def stages(self) -> Iterator[Stage]:
        """The limits; the falling budget, planned by angles, then by distortion; the excess.

        Before the excess the codebooks or the grid are trained.

        Raises:
            ValueError: the smallest possible file is larger than the size.
        """
        self._refuse_least()
        yield from self._narrowing.stages()
        epochs, packaging = self.method.optimisation.epochs, self.method.packaging
        first, tensors = epochs // 2, self._blind
        if first:
            plan = tensors.budget(self.left_bits(_FIRST)).plan(tensors.detached)
            yield self._stage("sparse", {"budget": tensors.sparser(plan)}, 0.5, first)
            tensors = self._measured()
        multiple = _ESTIMATED if self.form.bits else 1.0
        plan = tensors.budget(self.left_bits(multiple)).plan(tensors.detached)
        yield self._stage("sparser", {"budget": tensors.sparser(plan)}, 0.5, epochs - first)
        if packaging.slim:
            shrink(self.model, self._example)
        tensors = self._measured()
        yield from self._grid(tensors) if self.form.bits else self._codebooks(tensors)
        if packaging.slim:
            shrink(self.model, self._example)
        limit, excess = self.left_bits(1.0), 1
        while excess > 0:  # the writer fills whole bytes: once more for a few of them
            yield self._stage("size", {"size": tensors.budget(limit)}, 0.5, 0)
            costs = self._costs()
            excess = costs.file_bytes - size_bytes(self.size, costs.dense_bytes)
            limit -= 8 * excess

    def _codebooks(self, tensors: CodedTensors) -> Iterator[Stage]:
        """Train codebooks; again for a larger plan where rounding leaves much of the budget."""
        before, margin = copy.deepcopy(self.model.state_dict()), _MARGIN
        for name in ("codebook", "codebook again", "codebook once more"):
            self.model.load_state_dict(before)
            plan = tensors.budget(self.left_bits(margin)).fitted_plan(tensors.detached)
            yield self._stage(name, tensors.codebooks(plan), 0.15, self.codebook_epochs)
            rest = self._planning_costs()
            used = 8 * (self._costs().file_bytes - rest.rest_bytes) / self._left_bits(rest, 1.0)
            longest = all(choice.values == 1 << self.most_bits for choice in plan.values())
            if used >= _USED or longest:
                break
            margin *= _MARGIN / used

    def _grid(self, tensors: CodedTensors) -> Iterator[Stage]:
        """Prune to the budget and train the rest on a grid."""
        tensors.take(tensors.budget(self.left_bits(_MARGIN)).fitted_plan(tensors.detached))
        yield from grid_stage(
            self.method,
            UniformGrid(self.form.bits, self.per_channel),
            self.model,
            self.sample,
            self.objective,
            lambda _: self._names,
            {"support": Support.of(tensors.detached)},
            fraction=0.25,
            epochs=self.codebook_epochs,
        )

    def left_bits(self, multiple: float) -> int:
        """Bits for the compressed tensors, after everything else in a file of so many sizes.

        Raises:
            ValueError: everything else takes more than the size.
        """
        return self._left_bits(self._planning_costs(), multiple)

    def least_bytes(self) -> int:
        """Bytes of the file with one weight in each compressed tensor."""
        if self.method.packaging.slim:
            return self._costs_of(self._emptied()).file_bytes
        return self._empty_costs().file_bytes

    def _refuse_least(self) -> None:
        costs = self._planning_costs()
        limit = size_bytes(self.size, costs.dense_bytes)
        if limit < self.least_bytes():
            raise self._too_small(limit, costs)

    def _left_bits(self, costs: FileCosts, multiple: float) -> int:
        limit = size_bytes(self.size, costs.dense_bytes)
        taken = costs.rest_bytes
        if limit <= taken + len(costs.names):
            raise self._too_small(limit, costs)
        return int(8 * (multiple * limit - taken))

    def _too_small(self, limit: int, costs: FileCosts) -> ValueError:
        dense = dense_line(dense_parts(self.model, costs.names))
        rest = f"biases, norms and what stays dense, {dense}," if dense else "biases and norms"
        frame = "header" if isinstance(self.form, HbkForm) else "graph"
        return ValueError(
            f"size was given as {self.size}, {limit:,} bytes, and {frame}, {rest} alone take "
            f"{costs.rest_bytes:,}, with one weight in each layer {self.least_bytes():,}; give a "
            "size well above that."
        )

    def _planning_costs(self) -> FileCosts:
        """Costs whose rest a plan counts on.

        Of a graph it depends on the shapes alone. Of weights that are not on their grid yet the
        lengths are not those in the file, which here holds hardly any.
        """
        if isinstance(self.form, HbkForm) and not self.form.bits:
            return self._costs()
        return self._empty_costs()

    def _empty_costs(self) -> FileCosts:
        """The costs with one weight in each compressed tensor."""
        shapes = tuple(t.shape for t in self.model.state_dict().values())
        if shapes not in self._seen:
            one, names, form = self._emptied(), self._names, self.form
            self._seen[shapes] = FileCosts.of(one, self.sample, names, form, self._whole)
        return self._seen[shapes]

    def _emptied(self) -> nn.Module:
        """A copy of the network with one weight in each compressed tensor."""
        return self._blind.copy(self._blind.cut(dict.fromkeys(self._names, Choice(1, 1))))

    def _costs(self) -> FileCosts:
        return self._costs_of(self.model)

    def _costs_of(self, model: nn.Module) -> FileCosts:
        shipped = slim(model, self._example) if self.method.packaging.slim else model
        return FileCosts.of(shipped, self.sample, self._names, self.form, self._whole)

    def _measured(self) -> CodedTensors:
        """The tensors with their distortions, on the current weights."""
        reuse = self.method.training_attack.reuse
        found = measured(self._blind, self.objective, self.sample, reuse)
        return replace(self._blind, distortions=found)

    def _stage(
        self, name: str, sets: Mapping[str, Constraint], fraction: float, epochs: int
    ) -> Stage:
        """Train in these sets, lazily, at a fraction of the peak learning rate."""
        problem = Problem(self.objective, sets, select=lambda _: self._names)
        solver = ProjectedGradient(self.method.optimisation.descent(fraction), lazy=True)
        return self.method.stage(name, problem, solver, epochs)

    @cached_property
    def _names(self) -> list[str]:
        """What is compressed: only codebooks shorten biases."""
        names = self.select(self.model)
        return list(names) if self.form.bits else coded(self.model, names)

    @cached_property
    def _blind(self) -> CodedTensors:
        """The tensors without distortions."""
        return CodedTensors(self.model, self._names, self.most_bits, self.form)

    @property
    def _narrowing(self) -> Narrowing:
        return Narrowing(
            self.limits, self.select, self.method, self.objective, self.model, self.sample
        )

    @cached_property
    def _example(self) -> Images:
        return self.sample.images(slice(1))

    @cached_property
    def _whole(self) -> int | None:
        """Bytes of the dense network, if the file is of a slim form of it."""
        return dense_bytes(self.model.state_dict()) if self.method.packaging.slim else None


def refuse_size(size: str, most_bits: int, codebook_epochs: int) -> None:
    """Validate the settings of a file's size.

    Args:
        size: such as 20kB or 1%.
        most_bits: largest number of bits of a codebook index.
        codebook_epochs: passes under the codebooks.

    Raises:
        ValueError: naming the one outside its range.
    """
    size_bytes(size, 1 << 30)
    ByteBudget(1, HbkForm(half=True).codec, most_bits)
    if codebook_epochs < 0:
        raise ValueError(f"codebook_epochs was given as {codebook_epochs}; give 0 or more.")


def larger(size: str, nbytes: int, dense: int) -> str:
    """That the file that ships is larger than the size that was given; empty if it is not.

    Args:
        size: such as 20kB or 1%.
        nbytes: of the file.
        dense: bytes of the dense network in float32.
    """
    limit = size_bytes(size, dense)
    if nbytes <= limit:
        return ""
    return (
        f"The file that ships takes {nbytes:,} bytes, and size was given as {size}, {limit:,} "
        "bytes; give a size that much smaller."
    )
