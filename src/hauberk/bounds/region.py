"""The inputs that a threat allows, as a region over which linear functions are minimised.

    min ⟨a, x'⟩  over  Δ(x) ∩ [0, 1]ⁿ   ≥   max( over the box around Δ(x),  ⟨a, x⟩ − eps ‖a‖* )

Exact for ℓ∞. For ℓ2 and ℓ1 each of the two is a bound; the larger is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hauberk.bounds.boxes import Box, rounding
from hauberk.threat import Threat
from hauberk.threats import L1, L2, Linf
from hauberk.types import Images

_SLACK = 1e-6
"""Radius is enlarged by this fraction, and by as much again in pixels: attacks project in
float32."""


@dataclass(frozen=True)
class Region:
    """What an adversary may give in place of each image.

    Attributes:
        x: the images, float64.
        threat: ℓ∞, ℓ2 or ℓ1.
        box: around the region.
    """

    x: Tensor
    threat: Linf | L2 | L1
    box: Box

    @classmethod
    def of(cls, x: Images, threat: Threat) -> Region:
        """The region of a threat.

        Args:
            x: images in [0, 1].
            threat: one norm; of several ask for each.

        Raises:
            ValueError: a threat of another kind.
        """
        if not isinstance(threat, Linf | L2 | L1):
            raise ValueError(
                f"The threat {threat} has no certified bounds; give linf, l2 or l1, or several "
                "joined by +."
            )
        centre, reach = x.double(), _reach(threat)
        box = Box((centre - reach).clamp(0, 1), (centre + reach).clamp(0, 1))
        return cls(centre, threat, box)

    def lowest(self, a: Tensor) -> Tensor:
        """A lower bound of ``⟨a, x'⟩``, (batch, spec).

        Args:
            a: coefficients, (batch, spec, channel, height, width).
        """
        in_box = self.box.lowest(a)
        if isinstance(self.threat, Linf):
            return in_box
        flat = a.flatten(2)
        dual = flat.norm(dim=2) if isinstance(self.threat, L2) else flat.abs().amax(2)
        at = (flat * self.x.flatten(1)[:, None]).sum(2)
        in_ball = at - _reach(self.threat) * dual * (1 + 1e-9) - rounding(a, self.box)
        return in_box.maximum(in_ball)


def _reach(threat: Linf | L2 | L1) -> float:
    return threat.eps * (1 + _SLACK) + _SLACK
