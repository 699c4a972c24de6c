"""One perturbation against several domains at once: APGDA (Wang et al., 2021, arXiv 1906.03563).

    max_{v ∈ Δ} min_{w ∈ simplex}  Σ_i w_i F_i(v) + γ/2 ‖w − 1/K‖²       F_i: the loss in domain i
    v ← Π_Δ( v + a · steepest(∇_v Σ_i w_i F_i) ),   w ← a step of ascent on −F (`ops.simplex`)

The weight goes to the domain that is fooled least. Domains are several networks (`ensemble`),
several inputs that share one perturbation (`universal`), or transformations of the input
(`transformed`); v is an image for the first and the last, the perturbation for the second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from hauberk.attack import finite
from hauberk.ops.simplex import ascend, check_player
from hauberk.threat import Threat
from hauberk.types import Images

DomainLoss: TypeAlias = Callable[[Images], Float[Tensor, "batch domains"]]
"""Images to one loss for each of them in each domain."""


@dataclass(frozen=True)
class Fooled:
    """The result of a search.

    Attributes:
        x: the points, of the threat.
        weights: of the domains, for each point: those that counted where the search ended.
        losses: in each domain, of each point.
    """

    x: Images
    weights: Float[Tensor, "batch domains"]
    losses: Float[Tensor, "batch domains"]


@dataclass(frozen=True)
class MinMaxPGD:
    """Projected ascent on the points and projected steps of the weights, for each point.

    Of all points on the way, the one is kept whose least loss over the domains is the largest.

    Attributes:
        steps: of the points; each but the first comes after one of the weights.
        rate: b, of the weights' steps, for losses in nats.
        gamma: γ, what keeps the weights together; at infinity they are equal, and this is PGD on
            the domains' average.
        step_size: in the threat's own norm; ``None`` is reach · radius / steps.
        reach: length of the whole path in radii.
        random_start: start at a random point of the threat, else at ``x``.
        wait: fraction of the steps in which the domains have equal weights, before these move. A
            loss that is clipped where a domain is fooled (`hinge`) ignores the fooled ones by
            itself: there, weights that follow the worst from the start do worse than the average.
            After half of the steps, with margins in one unit (`in_one_unit`), they do better
            (benchmarks/min_max_mnist.py).
    """

    steps: int = 40
    rate: float = 1.0
    gamma: float = 0.5
    step_size: float | None = None
    reach: float = 2.5
    random_start: bool = True
    wait: float = 0.0

    def __post_init__(self) -> None:
        check_player(self.rate, self.gamma)
        if not 0 <= self.wait <= 1:
            raise ValueError(
                f"MinMaxPGD was given wait={self.wait}; give a fraction of the steps, in [0, 1]."
            )
        if self.steps < 1:
            raise ValueError(f"MinMaxPGD was given steps={self.steps}; give 1 or more.")
        if not (self.reach > 0 and (self.step_size is None or self.step_size > 0)):
            raise ValueError(
                f"MinMaxPGD was given reach={self.reach} and step_size={self.step_size}; give "
                "positive ones, or no step_size for reach · radius / steps."
            )

    def averaged(self) -> MinMaxPGD:
        """The baseline: the same search, all domains with equal weight."""
        return replace(self, gamma=inf)

    @torch.no_grad()
    def __call__(
        self, losses: DomainLoss, x: Images, threat: Threat, rng: torch.Generator
    ) -> Fooled:
        """Search from ``x``, within the threat around it.

        Args:
            losses: differentiated with respect to their input.
            x: the centres, in [0, 1].
            threat: the set to stay inside.
            rng: source of the random start.
        """
        alpha = self.step_size or self.reach * threat.radius() / self.steps
        v = threat.sample(x, rng) if self.random_start else x
        search, waits = _Search(losses, self.rate), round(self.wait * self.steps)
        for i in range(self.steps):
            grad = search.ascent(v, inf if i < waits else self.gamma)
            v = threat.project(v.add(threat.step(grad, v), alpha=alpha), x)
        search.ascent(v, self.gamma)
        return search.best()


class _Search:
    """The weights as they are now, and the best point so far."""

    def __init__(self, losses: DomainLoss, rate: float) -> None:
        self.losses, self.rate = losses, rate
        self.w: Tensor | None = None
        self.found: Fooled | None = None

    def ascent(self, v: Images, gamma: float) -> Images:
        """The weights' step with the losses at ``v``; then ``∇_v Σ_i w_i F_i`` by the new ones."""
        with torch.enable_grad():
            v = v.detach().requires_grad_()
            values = self.losses(v)
            seen = values.detach()
            self.w = self._weights(seen, gamma)
            (grad,) = torch.autograd.grad((self.w * values).sum(), v)
        self._see(Fooled(v.detach(), self.w, seen))
        return finite(grad)

    def best(self) -> Fooled:
        assert self.found is not None
        return self.found

    def _weights(self, seen: Tensor, gamma: float) -> Tensor:
        """Equal at first."""
        if self.w is None:
            return torch.full_like(seen, 1 / seen.shape[1])
        return ascend(self.w, -seen, self.rate, gamma)

    def _see(self, new: Fooled) -> None:
        old = self.found
        if old is None:
            self.found = new
            return
        better = new.losses.amin(1) > old.losses.amin(1)
        row, image = better[:, None], better.view(-1, *[1] * (new.x.ndim - 1))
        self.found = Fooled(
            torch.where(image, new.x, old.x),
            torch.where(row, new.weights, old.weights),
            torch.where(row, new.losses, old.losses),
        )
