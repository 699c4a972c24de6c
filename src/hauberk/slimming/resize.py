"""A module's layers in the sizes of a slim file: W ← W[:a, :b], new biases 0, before it is loaded.

Only ever to smaller or equal sizes. What a layer cannot take is left as it is, so that loading the
file then says which tensor does not fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from hauberk.slimming.layers import depthwise

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Change:
    """New sizes for one layer.

    Attributes:
        prefix: of the layer's tensors in the state.
        layer: the layer.
        tensors: their new shapes, a new bias among them.
        attributes: what the layer says of itself.
    """

    prefix: str
    layer: nn.Module
    tensors: Mapping[str, Shape]
    attributes: Mapping[str, int] = field(default_factory=dict)

    @property
    def state(self) -> dict[str, Shape]:
        """The new shapes by their names in the state."""
        return {self.prefix + name: shape for name, shape in self.tensors.items()}

    def apply(self) -> None:
        """Cut the layer's tensors, in place."""
        for name, shape in self.tensors.items():
            _cut(self.layer, name, shape)
        for name, number in self.attributes.items():
            setattr(self.layer, name, number)


def resize(model: nn.Module, shapes: Mapping[str, Shape]) -> None:
    """Give the ordinary layers of ``model`` the shapes of a file's tensors, in place.

    Args:
        model: its Conv, Linear and batch-, instance- or group-norm layers are resized;
            it may stand on the meta device.
        shapes: names in the state to shapes. Layers whose tensors would grow, change their number
            of axes or contradict each other are left alone.
    """
    for change in changes(model, shapes):
        change.apply()


def changes(model: nn.Module, shapes: Mapping[str, Shape]) -> Iterator[Change]:
    """What `resize` would do, layer by layer; layers that fit already are left out."""
    for name, layer in model.named_modules():
        prefix = f"{name}." if name else ""
        have = {key: tuple(t.shape) for key, t in _tensors(layer)}
        keys = {*have, "bias"} if isinstance(layer, _ConvNd | nn.Linear) else {*have}
        want = {key: tuple(shapes[prefix + key]) for key in keys if prefix + key in shapes}
        attributes = _attributes(layer, want)
        if attributes is None or want == have or not _smaller(have, want):
            continue
        yield Change(prefix, layer, want, attributes)


def _tensors(layer: nn.Module) -> list[tuple[str, Tensor]]:
    return [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]


def _smaller(have: Mapping[str, Shape], want: Mapping[str, Shape]) -> bool:
    return all(
        len(shape) == len(have.get(key, shape))
        and all(1 <= new <= old for new, old in zip(shape, have.get(key, shape), strict=True))
        for key, shape in want.items()
    )


def _attributes(layer: nn.Module, want: Mapping[str, Shape]) -> dict[str, int] | None:
    """What a layer of these shapes says of itself; None where it cannot have them."""
    if isinstance(layer, nn.Linear | _ConvNd):
        weight = want.get("weight", ())
        if len(weight) < 2:
            return None
        out, into = weight[1::-1] if isinstance(layer, _ConvTransposeNd) else weight[:2]
        if want.get("bias", (out,)) != (out,):
            return None
        if isinstance(layer, nn.Linear):
            return {"out_features": out, "in_features": into}
        return _convolution(layer, weight, out, into)
    if isinstance(layer, _NormBase):
        sizes = {shape for shape in want.values() if shape}  # the count of batches is a scalar
        if len(sizes) == 1 and len(only := sizes.pop()) == 1:
            return {"num_features": only[0]}
    if isinstance(layer, nn.GroupNorm):
        return _group_norm(layer, want)
    return None


def _group_norm(layer: nn.GroupNorm, want: Mapping[str, Shape]) -> dict[str, int] | None:
    """Groups keep their size, so that their statistics are of as many channels as before."""
    size = layer.num_channels // layer.num_groups
    channels = want.get("weight", ())
    if len(channels) != 1 or want.get("bias") != channels or channels[0] % size:
        return None
    return {"num_channels": channels[0], "num_groups": channels[0] // size}


def _convolution(layer: _ConvNd, weight: Shape, out: int, into: int) -> dict[str, int] | None:
    if weight[2:] != tuple(layer.kernel_size):
        return None
    if isinstance(layer, _ConvTransposeNd):
        return {"out_channels": out, "in_channels": into} if layer.groups == 1 else None
    if depthwise(layer):
        return {"out_channels": out, "in_channels": out, "groups": out} if into == 1 else None
    if layer.groups == 1 or (out, into * layer.groups) == (layer.out_channels, layer.in_channels):
        return {"out_channels": out, "in_channels": into * layer.groups}
    return None


def _cut(layer: nn.Module, name: str, shape: Shape) -> None:
    old: Tensor | None = getattr(layer, name)
    if old is None:  # a bias that a slim net needs
        weight = layer.get_parameter("weight")
        new = nn.Parameter(weight.new_zeros(shape), requires_grad=weight.requires_grad)
        layer.register_parameter(name, new)
    elif old.shape != shape:
        part = old.detach()[tuple(slice(n) for n in shape)].clone()
        kept = isinstance(old, nn.Parameter)
        setattr(layer, name, nn.Parameter(part, old.requires_grad) if kept else part)
