"""Dead channels of a group, and how their constants are folded into the readers.

    Σ_i W_i * (c_i 1) = Σ_i c_i ΣW_i, a bias,    or    = (Σ_i W_i c_i / c_a) * (c_a 1)

A channel is dead if every reader has zero weights for it or reads a constant c_i there. The
constant becomes a bias. At the border of a zero-padded convolution no bias is equivalent, so all
such channels are merged into one, the carrier a, which stays. Without carriers the bias is right
in the interior only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hauberk.slimming.channel_groups import Coupled, Member
from hauberk.slimming.layers import Matrix, gain, uneven, weight

_FIT = 1e-3
"""Smallest constant of a carrier, relative to the largest: W_i c_i / c_a must not explode."""


@dataclass(frozen=True)
class LayerInputs:
    """The inputs that one layer reads from a group, position by position.

    Attributes:
        member: the layer and the positions.
        size: number of channels of the group.
        value: the constants, (positions,), float64; NaN if the input depends on the image.
        unread: mask of the positions whose weights are all zero.
    """

    member: Member
    size: int
    value: Tensor
    unread: Tensor

    @classmethod
    def of(cls, member: Member, size: int, held: Mapping[nn.Module, Tensor]) -> LayerInputs:
        """The inputs that a layer reads.

        Args:
            member: the layer and the positions.
            size: number of channels of the group.
            held: the constants of all layers, from `constants`.
        """
        columns = weight(member.layer)[:, member.at]
        unread = (columns == 0).transpose(0, 1).flatten(1).all(1)
        unknown = torch.full((len(member.at),), torch.nan, dtype=torch.double)
        value = held[member.layer][member.at] if member.layer in held else unknown
        return cls(member, size, value, unread)

    @property
    def alive(self) -> Tensor:
        """Mask of the group's channels from which this layer reads image-dependent values."""
        return self._channels(~self.unread & self.value.isnan())

    @property
    def framed(self) -> Tensor:
        """Mask of the positions whose constant no bias can replace at a zero-padded border."""
        return ~self.unread & (self.value.abs() > 0) & uneven(self.member.layer)

    def needs(self, gone: Tensor, dead: Tensor) -> Tensor:
        """Mask of the dead channels that could carry the framed ones of ``gone``; may be empty."""
        framed = self.framed & gone[self.member.of]
        if not framed.any():
            return torch.zeros(self.size, dtype=torch.bool)
        size = self.value.abs().nan_to_num(0.0)
        fit = size >= _FIT * size[framed].max()
        return self._channels(fit & dead[self.member.of])

    def settle(self, gone: Tensor, carriers: Sequence[int], *, exact: bool) -> None:
        """Zero the weights of the channels that go, and compensate in the bias or a carrier.

        Args:
            gone: mask of the channels that go, (size,).
            carriers: channels that may carry constants.
            exact: give a bias to a layer that has none; otherwise the layer remains without one,
                because a norm usually follows and removes the constant.
        """
        places = gone[self.member.of]
        at, c = self.member.at[places], self.value[places].nan_to_num(0.0)
        carrier = self._place(carriers) if (self.framed & places).any() else None
        if carrier is None:
            _fold(self.member.layer, at, c, grow=exact)
        else:
            _merge(self.member.layer, at, c / self.value[carrier], self.member.at[carrier])
        weight(self.member.layer)[:, at] = 0.0

    def _place(self, carriers: Sequence[int]) -> int | None:
        """Position of the carrier with the largest constant; None if there is no carrier."""
        mine = torch.isin(self.member.of, torch.tensor(carriers, dtype=torch.long))
        size = torch.where(mine, self.value.abs().nan_to_num(0.0), 0.0)
        return int(size.argmax()) if size.any() else None

    def _channels(self, places: Tensor) -> Tensor:
        mask = torch.zeros(self.size, dtype=torch.bool)
        mask[self.member.of[places]] = True
        return mask


def choose(
    readings: Sequence[LayerInputs], group: Coupled, *, exact: bool
) -> tuple[Tensor, list[int]]:
    """Choose the channels of a group to remove.

    Args:
        readings: the inputs of every reader of the group.
        group: the group.
        exact: keep carriers for constants at zero-padded borders.

    Returns:
        A mask of the channels to remove, (size,), and the carriers that stay for them.
    """
    dead = ~torch.stack([r.alive for r in readings]).any(0)
    gone = _removable(dead, group)
    carriers = _cover([r.needs(gone, dead) for r in readings], dead & ~gone) if exact else []
    gone[carriers] = False
    return _removable(gone, group), carriers


def _removable(dead: Tensor, group: Coupled) -> Tensor:
    """The dead channels, except those that some layer of the group cannot lose."""
    gone, before = dead.clone(), torch.zeros_like(dead)
    while not torch.equal(before, gone):
        before = gone.clone()
        for member in group.members:
            _keep_statistics(member, gone)
            if len(member.places(gone)) == member.width:  # no layer loses its last channel
                gone[_first(member)] = False
    return gone


def _keep_statistics(member: Member, gone: Tensor) -> None:
    """Keep the channels of a group-norm's group unless all go: they share their statistics."""
    if isinstance(member.layer, nn.GroupNorm):
        size = member.layer.num_channels // member.layer.num_groups
        stay = {int(p) // size for p in member.places(~gone)}
        for place, channel in zip(member.at.tolist(), member.of.tolist(), strict=True):
            if place // size in stay:
                gone[channel] = False


def _first(member: Member) -> Tensor:
    """The channels to keep if all would go: one, or the first group of a group-norm."""
    if isinstance(member.layer, nn.GroupNorm):
        return member.of[: member.layer.num_channels // member.layer.num_groups]
    return member.of[:1]


def _cover(needs: Sequence[Tensor], staying: Tensor) -> list[int]:
    """A few channels such that each nonempty set of ``needs`` contains one, chosen greedily.

    Dead channels that stay anyway are preferred, because they cost nothing.
    """
    cheapest = [need & staying if (need & staying).any() else need for need in needs]
    open_, chosen = [need for need in cheapest if need.any()], []
    while open_:
        serves = torch.stack(open_).sum(0).tolist()
        chosen.append(serves.index(max(serves)))
        open_ = [need for need in open_ if not need[chosen[-1]]]
    return chosen


def _fold(layer: nn.Module, at: Tensor, c: Tensor, *, grow: bool) -> None:
    """``b ← b + Σ_i c_i ΣW_i``; with ``grow``, a layer without a bias gets one if needed."""
    assert isinstance(layer, Matrix)
    shift = gain(layer)[:, at] @ c
    if not shift.any() or (layer.bias is None and not grow):
        return
    old = torch.zeros_like(shift) if layer.bias is None else layer.bias.detach()
    layer.bias = nn.Parameter((old + shift).to(layer.weight.dtype))


def _merge(layer: nn.Module, at: Tensor, ratio: Tensor, carrier: Tensor) -> None:
    """``W_a ← W_a + Σ_i W_i c_i / c_a``."""
    w = weight(layer)
    columns = w[:, at].double()
    extra = (columns * ratio.view(1, -1, *[1] * (w.ndim - 2))).sum(1)
    w[:, carrier] += extra.to(w.dtype)
