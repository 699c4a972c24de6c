"""A batch: what one optimiser step sees, with the warm starts of its attacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hauberk.runtime.processes import ALONE, Group
from hauberk.types import Images, Labels


@dataclass(frozen=True)
class Recall:
    """Where the last attack on each example of a batch ended, kept from epoch to epoch.

    Attributes:
        ends: of every training example, its perturbation in radii of the threat of its time; of
            several attacks on each, one after the other.
        index: the batch's rows of ``ends``.
        there: how the batch's images were augmented: perturbations follow.
        back: the way back.
    """

    ends: Float[Tensor, " count *shape"]
    index: Int[Tensor, " batch"]
    there: Callable[[Tensor], Tensor] = lambda delta: delta
    back: Callable[[Tensor], Tensor] = lambda delta: delta

    def split(self, searches: int) -> list[Recall]:
        """The memory of each of so many attacks."""
        return [replace(self, ends=part) for part in self.ends.chunk(searches)]

    def unknown(self) -> Bool[Tensor, " batch"]:
        """Which examples were not attacked yet, or not moved."""
        return ~self.ends[self.index].flatten(1).any(1)

    def start(self, x: Images, radius: float) -> Images:
        """``x``, moved as far as last time; it may be outside of the threat."""
        return x + radius * self.there(self.ends[self.index].to(x.dtype))

    def keep(self, x_adv: Images, x: Images, radius: float) -> None:
        """Note where this attack ended (half precision; at radius 0 there is nothing to note)."""
        if radius:
            self.ends[self.index] = self.back((x_adv - x) / radius).to(self.ends.dtype)


@dataclass(frozen=True)
class Batch:
    """What one optimiser step sees.

    Attributes:
        x: images in [0, 1].
        y: class indices.
        rng: every random number of this step comes from here, so that a step is a function of
            its place in the run.
        progress: how far the stage has come, in [0, 1]; schedules read it.
        recall: where earlier attacks on these examples ended, for attacks that go on from there.
        memory: what the objective carries from step to step, to be changed in place; empty where
            this is a first step and nothing is kept.
        group: the processes that share the step; these are one's own rows of their batch.
        share: of these rows among theirs, in (0, 1].
        step: which step of the stage; None where nothing is trained on the batch.
    """

    x: Images
    y: Labels
    rng: torch.Generator
    progress: float = 1.0
    recall: Recall | None = None
    memory: Mapping[str, Tensor] = field(default_factory=dict)
    group: Group = ALONE
    share: float = 1.0
    step: int | None = None
