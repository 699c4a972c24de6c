"""Weighting: how much each of several threats counts in generalised adversarial training.

min_θ max_{w ∈ simplex} Σ_i w_i F_i(θ) − γ/2 ‖w − 1/K‖²,  F_i = E max_{x' ∈ Δ_i(x)} loss(f_θ, x', y)

Source: Wang et al., NeurIPS 2021, arXiv 1906.03563, §4. The weights are one vector for the data,
which ascends by a step of `hauberk.ops.simplex.ascend` each time the network descends, or one for
each example, at their maximum. Equal weights (γ = ∞) are the average; all weight on each example's
worst threat (γ = 0) is the maximum (Tramèr and Boneh, 2019, arXiv 1904.13000).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import inf
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from hauberk.batch import Batch
from hauberk.ops.simplex import ascend, check_player


class Weighting(ABC):
    """The weight of each threat in the loss. A single threat has weight 1, and no memory."""

    @final
    def __call__(
        self, losses: Float[Tensor, "batch threats"], batch: Batch
    ) -> Float[Tensor, "#batch threats"]:
        """The weights of this step, rows on the simplex.

        Args:
            losses: of each example under each threat, without a graph.
            batch: the step; its memory holds what `memory` began with.
        """
        if losses.shape[1] == 1:
            return torch.ones_like(losses[:1])
        return self.weights(losses, batch)

    @final
    def memory(self, threats: int) -> dict[str, Tensor]:
        """The memory that is carried from step to step, as a stage begins with it."""
        return {} if threats == 1 else self.start(threats)

    @abstractmethod
    def weights(
        self, losses: Float[Tensor, "batch threats"], batch: Batch
    ) -> Float[Tensor, "#batch threats"]:
        """The weights of two threats or more."""

    def start(self, threats: int) -> dict[str, Tensor]:
        """The memory of two threats or more; by default none."""
        return {}


@dataclass(frozen=True)
class SharedWeights(Weighting):
    """One vector of weights for all data; it takes one step after each step of the network.

    Attributes:
        rate: b, of the ascent, for losses in nats.
        gamma: γ, 0 or more; larger values keep the weights closer together.

    Raises:
        ValueError: a setting outside its range.
    """

    rate: float = 0.02
    gamma: float = 0.2

    def __post_init__(self) -> None:
        check_player(self.rate, self.gamma)

    def weights(
        self, losses: Float[Tensor, "batch threats"], batch: Batch
    ) -> Float[Tensor, "1 threats"]:
        """The weights that the last step left; the next ones go into the memory."""
        held = batch.memory or self.start(losses.shape[1])
        w = held["weights"].to(losses).clone()
        means = {str(i): mean for i, mean in enumerate(losses.mean(0))}
        whole = torch.stack(list(batch.group.mean(means, batch.fraction).values()))
        held["weights"].copy_(ascend(w, whole.to(w), self.rate, self.gamma))
        return w[None]

    def start(self, threats: int) -> dict[str, Tensor]:
        """Equal weights."""
        return {"weights": torch.full((threats,), 1 / threats)}


@dataclass(frozen=True)
class PerExampleWeights(Weighting):
    """Weights for each example, at their maximum: ``argmax_w Σ_i w_i F_i(x) − γ/2 ‖w − 1/K‖²``.

    Attributes:
        gamma: γ; at 0 all weight is on the worst threat, at infinity the weights are equal.

    Raises:
        ValueError: a negative γ.
    """

    gamma: float = 0.2

    def __post_init__(self) -> None:
        check_player(inf, self.gamma)

    def weights(
        self, losses: Float[Tensor, "batch threats"], batch: Batch
    ) -> Float[Tensor, "batch threats"]:
        """A function of this batch's losses alone."""
        return ascend(torch.zeros_like(losses), losses, inf, self.gamma)


AVERAGE, WORST = PerExampleWeights(inf), PerExampleWeights(0.0)
"""Equal weights; all weight on each example's worst threat."""
