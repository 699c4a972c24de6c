"""The min-max search over several domains, put to the laws of an attack."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hauberk.attack import Attack, Maximisation
from hauberk.attacks import MinMaxPGD
from hauberk.types import Images


@dataclass(frozen=True)
class MinMaxAlone(Attack):
    """On two domains that are the same loss."""

    of: MinMaxPGD

    def search(self, task: Maximisation) -> Images:
        def twice(x: Images) -> torch.Tensor:
            return task.loss(x)[:, None].expand(-1, 2)

        return self.of(twice, task.x, task.threat, task.rng).x
