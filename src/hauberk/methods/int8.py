"""Int8: quantisation-aware adversarial training, weights on a uniform grid, activations rounded.

    min_w E max_{x' ∈ Δ(x)} loss(f̃_w, x', y)   s.t.  w_l = s_l q_l,  q integer,  |q| ≤ 2^(b−1) − 1

f̃ rounds the inputs of its layers (`hauberk.parametrize.quantise`) with straight-through gradients,
those of the attack too. Weights by lazy projected gradient: the gradient is taken on the grid.
Source: Jacob et al. (2018), arXiv 1712.05877, §3, plus the inner maximisation. Departures: the
scales of the weights are optimal for the starting network and stay constant; the file is exported
by ``hauberk export --format onnx-int8`` with exactly the integers that were trained.

With ``size`` weights are pruned first until the file that ships fits into it, see `SizeTarget`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from hauberk.allocation.forms import form_of
from hauberk.constraints import Support, UniformGrid
from hauberk.dataset import Examples
from hauberk.method import Compression
from hauberk.methods._file_size import FileSize, larger, refuse_size
from hauberk.methods._grid import grid_stage
from hauberk.methods._narrow import Narrowing
from hauberk.problem import Constraint, Problem
from hauberk.recipe import GridPackaging, Limits
from hauberk.threat import Threat
from hauberk.training.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Int8(Compression):
    """Training for integer arithmetic; pruned weights stay pruned.

    Attributes:
        bits: bits of a weight, 2 to 8; activations have 8.
        per_channel: a scale for each output of a layer in place of one for all: more accurate,
            mostly at few bits; the .hbk, which then has no short codebook, is larger.
        revive: let weights that are zero at the start become non-zero.
        size: of the whole file that ships: 20kB, or a fraction of the dense float32 bytes, 1%;
            weights are pruned to it in ``epochs`` passes before the grid; empty prunes nothing.
    """

    bits: int = 8
    per_channel: bool = False
    revive: bool = False
    size: str = ""
    packaging: GridPackaging = GridPackaging()
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise ValueError(f"bits was given as {self.bits}; give 2 to 8 bits for a weight.")
        self.limits.check(self.packaging.slim)
        if self.size:
            refuse_size(self.size, self.bits, 0)
        if self.size and self.revive:
            raise ValueError(
                "revive was given with a size, under which weights are pruned to stay zero; give "
                "one of them."
            )

    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        """One stage with rounded activations; the network is a float network afterwards.

        Limits and a size are met first.
        """
        objective, grid = self.objective(threat), UniformGrid(self.bits, self.per_channel)
        if self.size:
            yield from FileSize(
                self.size,
                self.bits,
                self.optimisation.epochs,
                self.select,
                self,
                objective,
                model,
                sample,
                form_of(self.packaging, self.bits, grid=True),
                self.per_channel,
                self.limits,
            ).stages()
            return
        yield from Narrowing(self.limits, self.select, self, objective, model, sample).stages()
        weights = Problem(objective, select=self.select).weights(model)
        sets: dict[str, Constraint] = {} if self.revive else {"support": Support.of(weights)}
        epochs = self.optimisation.epochs
        yield from grid_stage(
            self,
            grid,
            model,
            sample,
            objective,
            self.select,
            sets,
            fraction=0.25,
            epochs=epochs,
        )

    def complaint(self, nbytes: int, dense_bytes: int) -> str:
        """That the file is larger than the size, if one was given."""
        return larger(self.size, nbytes, dense_bytes) if self.size else ""
