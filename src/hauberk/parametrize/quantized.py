"""Quantisation-aware training: eight-bit inputs for every ``Conv*`` and ``Linear`` layer.

    x̃ = s (clamp(round(x / s) + z, 0, 255) − z),   ∂x̃ / ∂x := 1,   s, z from the range of x

The gradient is straight-through, for the weights and for the adversary: the rounded function has
zero slope, so an attack on it would find nothing (Bengio et al., 2013, arXiv 1308.3432). The range
is a moving average over batches (Jacob et al., 2018, arXiv 1712.05877, §3.1) and includes 0.
Layers are not replaced: they get a hook, which `unquantise` removes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hauberk.ops.straight_through import through
from hauberk.parametrize.selection import layers
from hauberk.runtime.processes import ALONE, Group
from hauberk.types import Images

_NAME = "activation"
_LEVELS = 255
_DECAY = 0.95
"""Decay of the moving range per training step."""


class Rounded(nn.Module):
    """Rounds its input to 8 bits; in training mode it also tracks the range over the group."""

    low: Tensor
    high: Tensor
    group: Group = ALONE

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Round to the nearest of 256 levels, with the gradient of the identity."""
        if self.training:
            self.follow(x)
        return through(x, self._levels(x.detach().float()).to(x.dtype))

    @torch.no_grad()
    def follow(self, x: Tensor) -> None:
        """Move the range towards that of a batch; the first batch sets it."""
        low, high = torch.aminmax(x.detach().float())
        ends = torch.stack([-low, high]).clamp_min(0.0)
        self.group.all_reduce_max_(ends)
        seen = torch.stack([-ends[0], ends[1]])
        held = torch.stack([self.low, self.high])
        low, high = torch.where(self.high > self.low, held.lerp(seen, 1 - _DECAY), seen)
        self.low.copy_(low)
        self.high.copy_(high)

    def _levels(self, x: Tensor) -> Tensor:
        scale = (self.high - self.low) / _LEVELS
        scale = torch.where(scale > 0, scale, 1.0)
        zero = (-self.low / scale).round()
        return ((x / scale).round() + zero).clamp(0, _LEVELS).sub(zero).mul(scale)


def quantise(model: nn.Module, images: Images) -> nn.Module:
    """Round the input of every ``Conv*`` and ``Linear`` of ``model`` to eight bits, in place.

    Args:
        model: any module; `unquantise` undoes the change.
        images: a batch; one forward pass on the model's device sets the initial ranges.

    Returns:
        ``model``.
    """
    for layer in layers(model).values():
        layer.add_module(_NAME, Rounded())
        layer.register_forward_pre_hook(_before)
    modes = {m: m.training for m in model.modules()}
    model.eval()
    for part in _rounders(model):
        part.to(_device(model)).train()
    with torch.no_grad():
        model(images.to(_device(model)))
    for module, training in modes.items():
        module.training = training
    return model


def unquantise(model: nn.Module) -> dict[str, tuple[float, float]]:
    """Undo `quantise`, in place.

    Returns:
        The last range (low, high) of each layer's input, by the layer's name.
    """
    found = {}
    for name, layer in layers(model).items():
        if _NAME in layer._modules:
            part = layer.get_submodule(_NAME)
            assert isinstance(part, Rounded)
            found[name] = float(part.low), float(part.high)
            del layer._modules[_NAME]
            hooks = layer._forward_pre_hooks
            for key in [key for key, hook in hooks.items() if hook is _before]:
                del hooks[key]
    return found


def _before(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return layer.get_submodule(_NAME)(inputs[0]), *inputs[1:]


def _rounders(model: nn.Module) -> list[Rounded]:
    return [m for m in model.modules() if isinstance(m, Rounded)]


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))
