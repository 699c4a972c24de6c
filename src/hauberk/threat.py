"""A threat: the set Δ(x) of allowed inputs around each input, inside the pixel box [0, 1]."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import inf
from typing import final

import torch
from jaxtyping import Bool
from torch import Tensor

from hauberk.types import Images


class Threat(ABC):
    """A threat model: the perturbed inputs that an adversary may give to the network."""

    @abstractmethod
    def project(self, x_adv: Images, x: Images) -> Images:
        """``argmin ‖x' − x_adv‖₂  s.t.  x' ∈ Δ(x) ∩ [0, 1]``, per example."""

    @abstractmethod
    def sample(self, x: Images, rng: torch.Generator) -> Images:
        """A random point of ``Δ(x) ∩ [0, 1]`` for each example: the random start."""

    @abstractmethod
    def steepest(self, grad: Images, sharpness: float = inf) -> Images:
        """``argmax ⟨s·ĝ, d⟩ − ½‖d‖₂²`` over the unit set, per example (zero where grad is).

        Here ``ĝ = grad / mean|grad|`` and ``s`` is the sharpness: at infinity this is
        ``argmax ⟨grad, d⟩``; a finite one spares the pixels that hardly matter.
        """

    def step(self, grad: Images, at: Images, sharpness: float = inf) -> Images:
        """The steepest step from a point, for sets that depend on which pixels can still move.

        By default it is `steepest` at every point; projection returns it to the box.

        Args:
            grad: gradient of the loss, shaped like the images.
            at: the point to step from, in [0, 1].
            sharpness: see `steepest`.
        """
        return self.steepest(grad, sharpness)

    @abstractmethod
    def radius(self) -> float:
        """The radius of the set, in the threat's own norm: step sizes are set from it."""

    @abstractmethod
    def scaled(self, factor: float) -> Threat:
        """The same kind of set, ``factor`` times as large."""

    def approach(self, steps: int) -> Sequence[Threat]:
        """Larger sets through which a long search should come from outside; by default none.

        Args:
            steps: of the search, one for each set; the first set is the largest.
        """
        return ()

    @property
    def name(self) -> str:
        """Its name in logs: ``linf``."""
        return str(self).partition(":")[0]

    def parts(self) -> tuple[Threat, ...]:
        """The sets whose union this is; by default the set itself."""
        return (self,)

    @abstractmethod
    def inside(self, x_adv: Images, x: Images) -> Bool[Tensor, " batch"]:
        """A mask of the examples of ``x_adv`` in ``Δ(x) ∩ [0, 1]``, up to float rounding."""

    @final
    def contains(self, x_adv: Images, x: Images) -> bool:
        """Whether every example of ``x_adv`` is in ``Δ(x) ∩ [0, 1]``."""
        return bool(self.inside(x_adv, x).all())
