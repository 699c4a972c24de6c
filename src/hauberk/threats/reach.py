"""The check of a radius against images: none is farther from another than white from black."""

from __future__ import annotations

import torch

from hauberk.threat import Threat
from hauberk.threats.norm_ball import NormBall


def check_reach(threat: Threat, shape: tuple[int, ...], name: str) -> None:
    """Check that a threat's radius is in pixel units, and not in grey levels.

    Args:
        threat: what the adversary may do.
        shape: of one image.
        name: of the data, for errors.

    Raises:
        ValueError: no two images of this shape are as far apart as the radius.
    """
    for part in threat.parts():
        if isinstance(part, NormBall):
            farthest = float(part.lengths(torch.ones(1, *shape)).max())
            if part.eps > farthest * (1 + 1e-6):
                raise ValueError(
                    f"The {part.SYMBOL} radius eps was given as {part.eps:g}, and no two images of "
                    f"{name} are farther apart than {farthest:g}; give it in pixel units of "
                    "[0, 1], such as 0.5 and not 128."
                )
