"""One step from a random start (Goodfellow et al., 2015; Wong et al., 2020, arXiv 2001.03994).

x_adv = Π_Δ(x)( x₀ + α · steepest(∇ₓ loss(x₀)) ),  x₀ random in Δ(x),  α = 1.25 · radius
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hauberk.attack import Attack, Maximisation
from hauberk.attacks.pgd import PGD
from hauberk.threat import Threat
from hauberk.types import Images


@dataclass(frozen=True)
class FGSM(Attack):
    """A single step of steepest ascent.

    Attributes:
        track: return the better of start, result and clean image, see `PGD`.
        reach: length of the step in radii of the threat.

    Raises:
        ValueError: a reach that is not positive.
    """

    track: bool = False
    reach: float = 1.25

    def __post_init__(self) -> None:
        self._pgd()

    def search(self, task: Maximisation) -> Images:
        """The step of `PGD` with one step."""
        return self._pgd().search(task)

    def pieces(self, threat: Threat) -> Sequence[Attack]:
        """Itself, if it tracks."""
        return self._pgd().pieces(threat)

    def _pgd(self) -> PGD:
        return PGD(1, track=self.track, reach=self.reach)
