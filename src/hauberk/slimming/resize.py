"""Resizing: give a module's layers the shapes in a slim file, W ← W[:a, :b], before loading it.

Layers only become smaller; new biases are 0. A layer that cannot take its new shape is not
changed, and loading the file then reports the tensor that does not fit.
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
        prefix: prefix of the layer's tensors in the state dict.
        layer: the layer.
        tensors: new shapes of its tensors, by name; a bias may be new.
        attributes: new values of its size attributes, such as ``out_features``.
    """

    prefix: str
    layer: nn.Module
    tensors: Mapping[str, Shape]
    attributes: Mapping[str, int] = field(default_factory=dict)

    @property
    def state(self) -> dict[str, Shape]:
        """The new shapes by their names in the state dict."""
        return {self.prefix + name: shape for name, shape in self.tensors.items()}

    def apply(self) -> None:
        """Resize the layer's tensors, in place."""
        for name, shape in self.tensors.items():
            _resize_tensor(self.layer, name, shape)
        for name, number in self.attributes.items():
            setattr(self.layer, name, number)


def resize(model: nn.Module, shapes: Mapping[str, Shape]) -> None:
    """Give the ordinary layers of ``model`` the shapes of a file's tensors, in place.

    Args:
        model: its Conv, Linear and batch-, instance- or group-norm layers are resized; it may be
            on the meta device.
        shapes: shapes by names in the state dict. Layers whose tensors would grow, change their
            number of axes or contradict each other are not changed.
    """
    for change in changes(model, shapes):
        change.apply()


def changes(model: nn.Module, shapes: Mapping[str, Shape]) -> Iterator[Change]:
    """The changes that `resize` would make, layer by layer; layers that fit are left out."""
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
    """The size attributes of a layer with these shapes; None if it cannot have them."""
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
    """Groups keep their size, so that statistics are over as many channels as before."""
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


def _resize_tensor(layer: nn.Module, name: str, shape: Shape) -> None:
    old: Tensor | None = getattr(layer, name)
    if old is None:  # only the slim net has this bias
        weight = layer.get_parameter("weight")
        new = nn.Parameter(weight.new_zeros(shape), requires_grad=weight.requires_grad)
        layer.register_parameter(name, new)
    elif old.shape != shape:
        part = old.detach()[tuple(slice(n) for n in shape)].clone()
        kept = isinstance(old, nn.Parameter)
        setattr(layer, name, nn.Parameter(part, old.requires_grad) if kept else part)
