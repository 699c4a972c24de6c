"""The min-max search over several domains, put to the laws of an attack."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hauberk.attack import Attack
from hauberk.attacks import MinMaxPGD
from hauberk.threat import Threat
from hauberk.types import Images, SampleLoss


@dataclass(frozen=True)
class MinMaxAlone(Attack):
    """On two domains that are the same loss."""

    of: MinMaxPGD

    def search(
        self,
        loss: SampleLoss,
        x: Images,
        threat: Threat,
        rng: torch.Generator,
        start: Images | None = None,
    ) -> Images:
        return self.of(lambda z: loss(z)[:, None].expand(-1, 2), x, threat, rng).x
