"""Constant inputs of layers: c_i with x_i = c_i for every image.

The network runs once on NaN, which stands for "depends on the image" and propagates through sums,
activations, pooling and reshaping. Only structure stops it: a zero weight does not read its input,
and a norm with a zero scale discards it. Inputs that are still numbers are constants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from hauberk.slimming.layers import Matrix

_UNIFORM = 1e-6
"""Relative tolerance for values that should be equal: sums are rounded."""


@torch.no_grad()
def constants(net: nn.Module, probe: Tensor, *, exact: bool) -> dict[nn.Module, Tensor]:
    """The constants among the inputs of each Conv and Linear layer, in float64.

    Args:
        net: the network, in eval mode.
        probe: a batch of one random input. It can only veto constants: an operation that loses
            NaN, such as a comparison, would report false ones.
        exact: leave out channels that are constant but not uniform in space; otherwise their
            median stands for them.

    Returns:
        One number per input channel or feature, NaN if it depends on the image. A layer that does
        not run exactly once has no entry.
    """
    with reading(net) as inputs, _Structural():
        net(torch.full_like(probe, torch.nan))
    with reading(net) as seen:
        net(probe)
    return {
        layer: _values(rows[0], seen[layer][0], exact)
        for layer, rows in inputs.items()
        if len(rows) == 1 == len(seen[layer])
    }


@contextmanager
def reading(net: nn.Module) -> Iterator[Mapping[nn.Module, list[Tensor]]]:
    """Collect the inputs of each Conv and Linear layer: (channels, positions) for each call."""
    inputs: dict[nn.Module, list[Tensor]] = {}

    def keep(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        inputs[layer].append(by_channel(layer, args[0]).clone())  # a ReLU may overwrite it

    hooks = []
    for layer in net.modules():
        if isinstance(layer, Matrix):
            inputs[layer] = []
            hooks.append(layer.register_forward_pre_hook(keep))
    try:
        yield inputs
    finally:
        for hook in hooks:
            hook.remove()


def by_channel(layer: nn.Module, x: Tensor) -> Tensor:
    """Inputs of a layer as (channels, positions)."""
    return x.transpose(axis(layer), 0).flatten(1) if x.ndim > 1 else x[:, None]


def axis(layer: nn.Module) -> int:
    """The channel axis of a layer's inputs and outputs."""
    return -1 if isinstance(layer, nn.Linear) else 1


def _values(rows: Tensor, seen: Tensor, exact: bool) -> Tensor:
    rows, seen = rows.double(), seen.double()
    middle = rows.median(1).values
    near = _UNIFORM * rows.abs().amax(1)
    keep = (rows - seen).abs().amax(1) <= near
    if exact:
        keep &= rows.amax(1) - rows.amin(1) <= near
    return torch.where(keep, middle, torch.nan)  # comparisons with NaN are false


class _Structural(TorchFunctionMode):
    """Replaces operations by rules that propagate NaN by structure."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return _RULES.get(func, func)(*args, **(kwargs or {}))


def _through(
    func: Callable[..., Tensor],
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *rest: Any,
    **named: Any,
) -> Tensor:
    """NaN where a nonzero weight reads NaN."""
    unknown = input.isnan()
    known = func(input.masked_fill(unknown, 0.0), weight, bias, *rest, **named)
    reads = func(unknown.to(weight), (weight != 0).to(weight), None, *rest, **named)
    return known.masked_fill(reads > 0.5, torch.nan)


def _normed(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *rest: Any,
    **named: Any,
) -> Tensor:
    """Batch-norm: a channel with a zero scale is constant."""
    out = F.batch_norm(input, running_mean, running_var, weight, bias, *rest, **named)
    return _shift_if_unscaled(out, weight, bias)


def _instance_normed(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *rest: Any,
    **named: Any,
) -> Tensor:
    """Instance-norm: likewise."""
    out = F.instance_norm(input, running_mean, running_var, weight, bias, *rest, **named)
    return _shift_if_unscaled(out, weight, bias)


def _group_normed(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *rest: Any,
    **named: Any,
) -> Tensor:
    """Group-norm: likewise; one NaN channel makes its whole group NaN."""
    out = F.group_norm(input, num_groups, weight, bias, *rest, **named)
    return _shift_if_unscaled(out, weight, bias)


def _shift_if_unscaled(out: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
    """The output of a norm, which is its shift in channels with a zero scale."""
    if scale is None:
        return out
    shape = (-1, *[1] * (out.ndim - 2))
    rest = torch.zeros_like(scale) if shift is None else shift
    return torch.where((scale == 0).view(shape), rest.view(shape), out)


_RULES: dict[Callable[..., Any], Callable[..., Any]] = {
    F.batch_norm: _normed,
    F.instance_norm: _instance_normed,
    F.group_norm: _group_normed,
    **{
        func: partial(_through, func)
        for func in (
            *(F.linear, F.conv1d, F.conv2d, F.conv3d),
            *(F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
        )
    },
}
