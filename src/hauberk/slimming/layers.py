"""Layers that can be shrunk: their channels on each side, and their weights."""

from __future__ import annotations

from typing import TypeAlias

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

Matrix: TypeAlias = _ConvNd | nn.Linear
"""A layer that mixes channels by a weight matrix."""

Norm: TypeAlias = _NormBase | nn.GroupNorm
"""A layer that scales and shifts each channel: batch, instance and group normalisation."""


def width(layer: nn.Module, reads: bool) -> int:
    """The number of channels on one side of a layer; a norm has the same on both."""
    if isinstance(layer, nn.Linear):
        return layer.in_features if reads else layer.out_features
    if isinstance(layer, _ConvNd):
        return layer.in_channels if reads else layer.out_channels
    if isinstance(layer, nn.GroupNorm):
        return layer.num_channels
    assert isinstance(layer, _NormBase)
    return layer.num_features


def weight(layer: nn.Module) -> Tensor:
    """The layer's weight as (out, in, …), a view; a transposed convolution stores (in, out, …)."""
    assert isinstance(layer, Matrix)
    w = layer.weight.detach()
    return w.transpose(0, 1) if isinstance(layer, _ConvTransposeNd) else w


def depthwise(layer: nn.Module) -> bool:
    """Whether each channel has its own filter."""
    return (
        isinstance(layer, _ConvNd) and layer.groups == layer.in_channels == layer.out_channels > 1
    )


def resizable(layer: nn.Module) -> bool:
    """Whether `hauberk.slimming.resize` can give the layer another width."""
    if isinstance(layer, _ConvTransposeNd):
        return layer.groups == 1
    if isinstance(layer, _ConvNd):
        return layer.groups == 1 or depthwise(layer)
    return isinstance(layer, nn.Linear | Norm)


def uneven(layer: nn.Module) -> bool:
    """Whether a constant input gives an output that is not constant in space.

    At a zero-padded border the kernel covers fewer constants. A transposed convolution applies
    another part of its kernel at each phase of its stride.
    """
    if isinstance(layer, _ConvTransposeNd):
        return True
    return (
        isinstance(layer, _ConvNd)
        and layer.padding_mode == "zeros"
        and any(layer._reversed_padding_repeated_twice)
    )


def gain(layer: nn.Module) -> Tensor:
    """The output for an input channel that is 1, away from borders: (out, in), float64.

    For a transposed convolution it is the mean over the phases of its stride.
    """
    w = weight(layer).double()
    total = w.reshape(*w.shape[:2], -1).sum(2)
    if isinstance(layer, _ConvTransposeNd):
        for step in layer.stride:
            total = total / step
    return total
