"""Ensemble: a weighted sum of several networks' logits.

    F(x) = Σ_t α_t h_t(x),   or, with limited spreads s,   F(x) = α_1 h_1(x) + Σ_{t>1} α_t h̃_t(x),
    h̃ = max(h − max_j h_j, −s)

Two entries of h̃ differ by at most s, so the members that are not evaluated yet can change a gap
between two logits by at most Σ α_t s_t: early exits rest on that bound. Subtracting the maximum
does not change probabilities; logits further than s below it are raised.

The sum is taken over logits, in the members' order, and not over votes: votes are piecewise
constant and would mask the gradients that an attack follows.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from math import inf
from typing import Self

import torch
from torch import Tensor, nn

from hauberk.types import Images

NAME = "ensemble"
"""The name of an ensemble's architecture in a file."""
MOST = 256
"""Most members of an ensemble in a file."""


class Ensemble(nn.Module):
    """``F(x) = Σ_t α_t h_t(x)``: ordinary torch layers, and one buffer with the weights α.

    Args:
        members: networks from the same images to the same number of logits.
        alpha: weight of each member's logits; 1 for each by default.
        spreads: largest difference between two logits of each member but the first; unlimited by
            default.

    Attributes:
        frozen: the number of members, counted from the first, that are not trained: their weights
            get no gradients, and they stay in eval mode, so that their statistics do not change.

    Raises:
        ValueError: no members, or not one weight for each.
    """

    alpha: Tensor
    spread: Tensor | None

    def __init__(
        self,
        members: Sequence[nn.Module],
        alpha: Sequence[float] | None = None,
        spreads: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        weights = [1.0] * len(members) if alpha is None else list(alpha)
        if not members or len(weights) != len(members):
            raise ValueError(
                f"An ensemble was given {len(members)} members and {len(weights)} weights; give "
                "at least one member, and one weight for each."
            )
        self.members = nn.ModuleList(members)
        self.register_buffer("alpha", torch.tensor(weights, dtype=torch.float32))
        self.register_buffer("spread", None)
        if spreads is not None:
            self.limit(spreads)
        self.frozen = 0

    @classmethod
    def of(cls, member: nn.Module, count: int, *, limited: bool = False) -> Self:
        """An ensemble of copies of one network, to be filled from a file.

        Args:
            member: the network.
            count: number of copies.
            limited: whether the members' spreads are limited.
        """
        members = [copy.deepcopy(member) for _ in range(count)]
        return cls(members, spreads=[1.0] * (count - 1) if limited else None)

    @property
    def architecture(self) -> tuple[str, dict[str, int | str]] | None:
        """Name and arguments that a file stores; None if the members are of several kinds.

        ``of`` names the members' common network; it is empty for a user's own module.
        """
        kinds = {_kind(member) for member in self.members}
        of = {spec for spec, _ in kinds}
        if len(of) > 1 or (of == {""} and len(kinds) > 1):
            return None
        named: dict[str, int | str] = {"of": of.pop(), "members": len(self.members)}
        return NAME, named if self.spread is None else {**named, "limited": 1}

    @property
    def normalization(self) -> object:
        """That of every member, which a file records; None if they differ or have none."""
        kinds = {getattr(member, "normalization", None) for member in self.members}
        return kinds.pop() if len(kinds) == 1 else None

    def forward(self, x: Images) -> Tensor:
        """The weighted sum of the members' logits, (batch, class).

        Raises:
            ValueError: members that differ in their number of outputs.
        """
        total = self.part(0, x)
        for number in range(1, len(self.members)):
            logits = self.part(number, x)
            if logits.shape[1:] != total.shape[1:]:
                raise ValueError(
                    f"Member {number + 1} of the ensemble gives outputs of shape "
                    f"{tuple(logits.shape[1:])} and member 1 of {tuple(total.shape[1:])}; give "
                    "members with the same number of outputs."
                )
            total = total + logits
        return total

    def part(self, number: int, x: Images) -> Tensor:
        """The weighted logits of one member, limited if the members' spreads are.

        Args:
            number: of the member, from 0.
            x: images in [0, 1].
        """
        logits: Tensor = self.members[number](x)
        if number and self.spread is not None:
            below, spread = logits - logits.amax(1, keepdim=True), self.spread[number - 1]
            logits = torch.relu(below + spread) - spread  # the maximum, as exporters know it
        return self.alpha[number] * logits

    def limit(self, spreads: Sequence[float]) -> None:
        """Limit the spread of each member's logits but the first's.

        Args:
            spreads: one positive, finite number for each member but the first.

        Raises:
            ValueError: another number of spreads, or one that is not positive and finite.
        """
        found = torch.tensor(list(spreads), dtype=torch.float32, device=self.alpha.device)
        if len(found) != len(self.members) - 1 or not all(0 < s < inf for s in spreads):
            raise ValueError(
                f"An ensemble of {len(self.members)} members was given the spreads "
                f"{list(spreads)}; give a positive number for each member but the first."
            )
        self.spread = found

    @torch.no_grad()
    def seen_spreads(self, x: Images) -> list[float]:
        """The largest spread of the logits of each member but the first, on these images.

        Limits of this size leave the sum on these images as it is. Take attacked images among them,
        so that few images meet a limit, where the gradient of the limited logits is zero.

        Args:
            x: images in [0, 1]; limits that are there are ignored.
        """
        logits = [member(x) for member in self.members[1:]]
        return [float((z.amax(1) - z.amin(1)).max()) for z in logits]

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the members that are trained; frozen members stay in eval mode."""
        super().train(mode)
        for member in self.members[: self.frozen]:
            member.eval()
        return self

    def freeze(self, count: int) -> None:
        """Freeze the first ``count`` members and thaw the others."""
        self.frozen = count
        for number, member in enumerate(self.members):
            member.requires_grad_(number >= count)
        self.train(self.training)

    def grow(self, member: nn.Module) -> None:
        """Add a member of weight 1 and freeze the ones before it.

        Raises:
            ValueError: the members' spreads are limited already.
        """
        if self.spread is not None:
            raise ValueError("The members' spreads are limited; add members before limiting them.")
        self.members.append(member.to(self.alpha.device))
        self.alpha = torch.cat([self.alpha, self.alpha.new_ones(1)])
        self.freeze(len(self.members) - 1)

    def drop(self) -> None:
        """Remove the newest member; the ones before it stay frozen."""
        del self.members[-1]
        self.alpha = self.alpha[:-1].clone()
        self.spread = None if self.spread is None else self.spread[:-1].clone()
        self.freeze(len(self.members))


def _kind(member: nn.Module) -> tuple[str, tuple[str, ...]]:
    """The spec of a network that was built by name, else empty; and the names of its tensors."""
    named = getattr(member, "architecture", None)
    if not isinstance(named, tuple):
        return "", (type(member).__qualname__, *member.state_dict())
    name, arguments = named
    return f"{name}:{','.join(map(str, arguments.values()))}", ()
