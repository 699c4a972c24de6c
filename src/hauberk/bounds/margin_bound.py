"""MarginBound, the role: a sound lower bound of ``z_y − z_j`` over a threat.

    b_j(x) ≤ min_{x' ∈ Δ(x) ∩ [0, 1]} z_y(x') − z_j(x')

If every b_j of another class is positive, no input that the threat allows changes the answer: the
example is certified, for the network as it runs in float32 (see `hauberk.bounds.boxes`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from hauberk.bounds.network import Network
from hauberk.bounds.region import Region
from hauberk.threat import Threat
from hauberk.types import Images, Labels


class MarginBound(ABC):
    """A way to bound margins from below."""

    @property
    def name(self) -> str:
        """Its name in a report."""
        return type(self).__name__.lower()

    @abstractmethod
    def bound(self, network: Network, region: Region, y: Labels) -> Tensor:
        """The bounds over one region, (batch, class); that of class y is 0.

        Args:
            network: the operators of the classifier.
            region: the inputs that are allowed.
            y: labels.
        """

    @final
    def __call__(self, network: Network, x: Images, y: Labels, threat: Threat) -> Tensor:
        """The bounds, over all parts of the threat, (batch, class), float64.

        Args:
            network: the operators of the classifier.
            x: images in [0, 1].
            y: labels.
            threat: what the adversary may do.

        Raises:
            ValueError: a threat with no bound.
        """
        regions = [Region.of(x, part) for part in threat.parts()]
        found = [self.bound(network, region, y) for region in regions]
        worst = torch.stack(found).amin(0)
        return worst.scatter(1, y[:, None], 0.0)

    @final
    def certifies(self, network: Network, x: Images, y: Labels, threat: Threat) -> Tensor:
        """A mask of the examples that no allowed input moves from class y, (batch,).

        Args:
            network: the operators of the classifier.
            x: images in [0, 1].
            y: labels.
            threat: what the adversary may do.
        """
        others = self(network, x, y, threat).scatter(1, y[:, None], torch.inf)
        return (others > 0).all(1)  # NaN is not certified
