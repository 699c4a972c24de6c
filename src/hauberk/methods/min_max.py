"""One net for several threats: robust training of a dense network, the worst threat first.

min_θ max_{w ∈ simplex} Σ_i w_i F_i(θ) − γ/2 ‖w − 1/K‖²,   F_i the adversarial loss under threat i

Source: Wang et al., NeurIPS 2021, arXiv 1906.03563, generalised adversarial training. Any other
method does the same under a union of threats, where it asks for a small network too; this one
starts from a trained network as well (--from), and refuses a threat that is no union.
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
class MinMax(Method):
    """Dense adversarial training over domains; nothing is compressed, and the file is float32."""

    packaging: Packaging = Packaging(half=False)

    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        """One, and what it ends with ships."""
        if len(threat.parts()) < 2:
            raise ValueError(
                f"min-max was given the threat {threat} alone; give several, such as "
                "linf:0.2+l2:2, or take the method da."
            )
        yield dense_stage(self, threat, self.optimisation.epochs)
