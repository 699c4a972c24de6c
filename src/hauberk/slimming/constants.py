"""What a layer reads that no image can change: c_i with x_i = c_i for every input.

The network runs once on not-a-number, which stands for "depends on the image" and spreads by
itself through sums, activations, pooling and reshaping. What stops it is the structure alone: a
zero weight does not read, a batch-norm scale of zero forgets. What is a number then is a constant.
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
"""Values that should be equal may differ by so much of their size: sums are rounded."""


@torch.no_grad()
def constants(net: nn.Module, probe: Tensor, *, exact: bool) -> dict[nn.Module, Tensor]:
    """For each Conv and Linear layer the constants among its inputs, in float64.

    Args:
        net: in eval mode.
        probe: a batch of one random input; it may only veto, for an operation that loses
            not-a-number, such as a comparison, would make a constant of what is none.
        exact: a channel that is constant but not uniform in space is left out; otherwise its
            middle value stands for it.

    Returns:
        one number per input channel or feature, not-a-number where it depends on the image; a
        layer that runs not once but twice has no entry.
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
    """Collects what each Conv and Linear layer reads: (channels, positions) for each call."""
    inputs: dict[nn.Module, list[Tensor]] = {}

    def keep(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        inputs[layer].append(by_channel(layer, args[0]).clone())  # a relu may work in place

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
    """Where the channels of a layer's inputs and outputs are counted."""
    return -1 if isinstance(layer, nn.Linear) else 1


def _values(rows: Tensor, seen: Tensor, exact: bool) -> Tensor:
    rows, seen = rows.double(), seen.double()
    middle = rows.median(1).values
    near = _UNIFORM * rows.abs().amax(1)
    keep = (rows - seen).abs().amax(1) <= near
    if exact:
        keep &= rows.amax(1) - rows.amin(1) <= near
    return torch.where(keep, middle, torch.nan)  # comparisons with not-a-number are false


class _Structural(TorchFunctionMode):
    """Runs a network on what is known of its input."""

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
    """Unknown where a weight that is not zero reads what is unknown."""
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
    """Batch-norm: known where the scale is zero."""
    out = F.batch_norm(input, running_mean, running_var, weight, bias, *rest, **named)
    return _forgotten(out, weight, bias)


def _instance_normed(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *rest: Any,
    **named: Any,
) -> Tensor:
    """Instance-norm: the same."""
    out = F.instance_norm(input, running_mean, running_var, weight, bias, *rest, **named)
    return _forgotten(out, weight, bias)


def _group_normed(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *rest: Any,
    **named: Any,
) -> Tensor:
    """Group-norm: the same; one unknown channel makes its whole group unknown."""
    out = F.group_norm(input, num_groups, weight, bias, *rest, **named)
    return _forgotten(out, weight, bias)


def _forgotten(out: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
    """What a norm gives: where its scale is zero, its shift, whatever it read."""
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
