"""Norm ball, the base of ℓ∞, ℓ2 and ℓ1: radius, name and membership."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from math import inf
from typing import ClassVar

from jaxtyping import Bool
from torch import Tensor

from hauberk.threat import Threat
from hauberk.threats.checks import check_radius, within
from hauberk.types import Images


@dataclass(frozen=True)
class NormBall(Threat):
    """``Δ(x) = {x' : ‖x' − x‖ ≤ eps}`` inside the pixel box, per example.

    Attributes:
        eps: radius, in the norm of pixels in [0, 1]; at least 0.

    Raises:
        ValueError: a negative, infinite or NaN eps, or one above the norm's largest.
    """

    SYMBOL: ClassVar[str]
    NAME: ClassVar[str]
    LARGEST: ClassVar[float] = inf

    eps: float

    def __post_init__(self) -> None:
        check_radius(self.SYMBOL, self.eps, self.LARGEST)

    def __str__(self) -> str:
        return f"{self.NAME}:{self.eps}"

    def radius(self) -> float:
        """The radius eps, in the norm of pixels in [0, 1]."""
        return self.eps

    def scaled(self, factor: float) -> NormBall:
        """The ball of radius ``factor · eps``."""
        return replace(self, eps=self.eps * factor)

    def inside(self, x_adv: Images, x: Images) -> Bool[Tensor, " batch"]:
        """A mask: ``‖x_adv − x‖ ≤ eps`` and ``0 ≤ x_adv ≤ 1``, up to float rounding."""
        return within(self.lengths(x_adv - x), self.eps, x_adv)

    @abstractmethod
    def lengths(self, delta: Images) -> Tensor:
        """The norm of each example, or parts of it whose maximum is the norm."""
