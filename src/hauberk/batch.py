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
class WarmStart:
    """The perturbations that the last attacks on a batch's examples found, in units of the radius.

    Attributes:
        perturbations: of all training examples, for the threat's radius at that time; of several
            attacks on each example, one attack after the other.
        index: the batch's rows of ``perturbations``.
        there: the augmentation of the batch's images, applied to perturbations too.
        back: its inverse.
    """

    perturbations: Float[Tensor, " count *shape"]
    index: Int[Tensor, " batch"]
    there: Callable[[Tensor], Tensor] = lambda delta: delta
    back: Callable[[Tensor], Tensor] = lambda delta: delta

    def split(self, searches: int) -> list[WarmStart]:
        """One warm start for each of ``searches`` attacks."""
        return [replace(self, perturbations=part) for part in self.perturbations.chunk(searches)]

    def unknown(self) -> Bool[Tensor, " batch"]:
        """Mask of the examples that have no perturbation yet."""
        return ~self.perturbations[self.index].flatten(1).any(1)

    def start(self, x: Images, radius: float) -> Images:
        """``x`` plus the perturbations, scaled to ``radius``; it may be outside of the threat."""
        return x + radius * self.there(self.perturbations[self.index].to(x.dtype))

    def keep(self, x_adv: Images, x: Images, radius: float) -> None:
        """Store what this attack found, in half precision; at radius 0 nothing is stored.

        Args:
            x_adv: the attacked images.
            x: the images before the attack.
            radius: of the threat, in pixel units.
        """
        if radius:
            found = self.back((x_adv - x) / radius)
            self.perturbations[self.index] = found.to(self.perturbations.dtype)


@dataclass(frozen=True)
class Batch:
    """The input of one optimiser step.

    Attributes:
        x: images in [0, 1].
        y: class indices.
        rng: the only source of random numbers of this step, so that a step is a function of its
            place in the run.
        progress: fraction of the stage that is done, in [0, 1]; schedules read it.
        warm_start: the perturbations that attacks start from; None where none are kept.
        memory: tensors that the objective carries from step to step and changes in place; empty
            where nothing is kept.
        group: the processes that share the step; ``x`` and ``y`` are this process's rows.
        fraction: of the whole batch that these rows are, in (0, 1].
        step: number of the step in its stage, from 0; None where nothing is trained on the batch.
    """

    x: Images
    y: Labels
    rng: torch.Generator
    progress: float = 1.0
    warm_start: WarmStart | None = None
    memory: Mapping[str, Tensor] = field(default_factory=dict)
    group: Group = ALONE
    fraction: float = 1.0
    step: int | None = None
