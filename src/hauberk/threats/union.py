"""``Δ(x) = ∪_k Δ_k(x)``: the adversary chooses the norm too, for each example.

An `Attack` never walks a union, which is not convex: it searches each member and keeps the worst
(`hauberk.attack`). For a search that does (`MinMaxPGD`), lengths are counted so that all members
have the radius of the largest, R = max_k eps_k: a step of 1 is eps_k / R long in member k's norm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import torch
from jaxtyping import Bool
from torch import Tensor

from hauberk.ops.random import uniform_like
from hauberk.threat import Threat
from hauberk.threats.checks import per_example
from hauberk.types import Images, PerSample


@dataclass(frozen=True)
class Union(Threat):
    """The union of several threats.

    Attributes:
        members: one or more, each of another kind.

    Raises:
        ValueError: no member, or two of one kind.
    """

    members: tuple[Threat, ...]

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError("A union was given no threat; give at least one.")
        (name, count), *_ = Counter(m.name for m in self.members).most_common()
        if count > 1:
            raise ValueError(
                f"The union {self} has {name} {count} times, and the largest of them holds the "
                "others; give each norm once."
            )

    def __str__(self) -> str:
        return "+".join(map(str, self.members))

    def parts(self) -> tuple[Threat, ...]:
        """The members."""
        return tuple(part for member in self.members for part in member.parts())

    def project(self, x_adv: Images, x: Images) -> Images:
        """``argmin ‖x' − x_adv‖₂  s.t.  x' ∈ ∪_k Δ_k(x)``: the nearest of the projections."""
        near = [member.project(x_adv, x) for member in self.members]
        gaps = [-(p - x_adv).flatten(1).norm(dim=1) for p in near]
        return _chosen(near, torch.stack(gaps).argmax(0))

    def sample(self, x: Images, rng: torch.Generator) -> Images:
        """A random point of a random member."""
        number = (uniform_like(x.flatten(1)[:, 0], rng) * len(self.members)).long()
        return _chosen([member.sample(x, rng) for member in self.members], number)

    def steepest(self, grad: Images, sharpness: float = inf) -> Tensor:
        """``argmax ⟨s·ĝ, d⟩ − ½‖d‖₂²  s.t.  d ∈ ∪_k (eps_k / R) B_k``.

        It is the step of the member that gains most; at infinity ``argmax ⟨grad, d⟩``.
        """
        return self._best(lambda member, s: member.steepest(grad, s), grad, sharpness)

    def step(self, grad: Images, at: Images, sharpness: float = inf) -> Images:
        """The step, among those of the members, that gains most.

        Args:
            grad: gradient of the loss, shaped like the images.
            at: the point to step from, in [0, 1].
            sharpness: see `steepest`.
        """
        return self._best(lambda member, s: member.step(grad, at, s), grad, sharpness)

    def radius(self) -> float:
        """The largest radius of the members, R."""
        return max(member.radius() for member in self.members)

    def scaled(self, factor: float) -> Union:
        """Each member ``factor`` times as large."""
        return Union(tuple(member.scaled(factor) for member in self.members))

    def inside(self, x_adv: Images, x: Images) -> Bool[Tensor, " batch"]:
        """A mask: some member contains ``x_adv``."""
        return torch.stack([member.inside(x_adv, x) for member in self.members]).any(0)

    def _best(self, step: Callable[[Threat, float], Images], grad: Images, s: float) -> Images:
        """Over ``r B``, r = eps_k / R, it is ``r · argmax ⟨(s/r) ĝ, d⟩ − ½‖d‖²`` over B."""
        mean = per_example(grad.abs().flatten(1).mean(1), grad)
        scaled, longest, steps = grad / torch.where(mean > 0, mean, 1), self.radius() or 1.0, []
        for member in self.members:
            r = member.radius() / longest
            steps.append(r * step(member, s / r if r else inf))
        return _chosen(steps, torch.stack([_gain(scaled, d, s) for d in steps]).argmax(0))


def _gain(grad: Images, step: Images, sharpness: float) -> PerSample:
    if sharpness == inf:
        return (grad * step).flatten(1).sum(1)
    return (step * (sharpness * grad - 0.5 * step)).flatten(1).sum(1)


def _chosen(each: list[Images], number: Tensor) -> Images:
    """For each example, its entry in the batch that ``number`` selects."""
    return torch.stack(each)[number, torch.arange(len(number), device=number.device)]
