"""DA: dense adversarial training (Madry et al., 2018, arXiv 1706.06083).

min_w E max_{x' ∈ Δ(x)} loss(f_w, x', y)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from hauberk.dataset import Examples
from hauberk.method import Method, dense_stage
from hauberk.recipe import Packaging
from hauberk.threat import Threat
from hauberk.training.stage import Stage


@dataclass(frozen=True, kw_only=True)
class DA(Method):
    """Dense adversarial training; nothing is compressed; the file is float32."""

    packaging: Packaging = Packaging(half=False)

    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        """One stage; its result ships."""
        yield dense_stage(self, threat, self.optimisation.epochs)
