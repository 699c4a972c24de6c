"""ONNX's operators with weights or a window as torch modules: products, norms, pooling, padding.

Each function turns one `Call` into the layer that computes the same, with the exact gradient. A
setting that is not handled raises `Unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.onnx.call import Apply, Call, Unknown

_LARGEST_PADDING = 1 << 12
_FILLS = {"reflect": "reflect", "edge": "replicate"}
"""ONNX's names of fillings, and torch's."""


def _pads(call: Call, axes: int) -> list[int]:
    """Padding in torch's order: last axis first, begin before end."""
    if call.settings.get("auto_pad", "NOTSET") != "NOTSET":
        raise Unknown(f"{call.kind} with auto_pad")
    pads = call.settings.get("pads", [0] * (2 * axes))
    if len(pads) != 2 * axes or not all(0 <= n <= _LARGEST_PADDING for n in pads):
        raise Unknown(f"{call.kind} with unsupported padding")
    return _turned(pads, axes)


def _turned(pads: Sequence[int], axes: int) -> list[int]:
    """ONNX's padding, all begins before all ends, in torch's order."""
    return [n for axis in reversed(range(axes)) for n in (pads[axis], pads[axes + axis])]


def _window(call: Call) -> tuple[Tensor, int, dict[str, Any]]:
    """The weight of a convolution, its groups, and the settings that both kinds have."""
    weight, groups = call.constant(1), int(call.settings.get("group", 1))
    axes = weight.ndim - 2
    if axes not in (1, 2, 3) or groups < 1 or len(weight) % groups:
        raise Unknown(f"{call.kind} of {weight.ndim} axes")
    return (
        weight,
        groups,
        {
            "kernel_size": tuple(weight.shape[2:]),
            "stride": tuple(call.settings.get("strides", [1] * axes)),
            "dilation": tuple(call.settings.get("dilations", [1] * axes)),
            "groups": groups,
            "bias": call.optional(2) is not None,
            "device": "meta",
        },
    )


def conv(call: Call) -> nn.Module:
    """A convolution; the weight is (output, input / groups, …)."""
    weight, groups, window = _window(call)
    axes = weight.ndim - 2
    pads = _pads(call, axes)
    even = pads[::2] == pads[1::2]
    kinds: tuple[Callable[..., nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    layer = kinds[axes - 1](
        weight.shape[1] * groups,
        len(weight),
        padding=tuple(pads[::-2]) if even else 0,
        **window,
    )
    filled = _filled(layer, weight, call.optional(2))
    return filled if even else nn.Sequential(Apply(partial(F.pad, pad=pads), [None]), filled)


def _filled(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    layer.register_parameter("weight", nn.Parameter(weight, requires_grad=False))
    given = None if bias is None else nn.Parameter(bias, requires_grad=False)
    layer.register_parameter("bias", given)
    return layer


def gemm(call: Call) -> nn.Module:
    """A linear layer with a constant matrix."""
    call.only(alpha=1.0, beta=1.0, transA=0)
    weight = call.constant(1) if call.settings.get("transB") else call.constant(1).T.contiguous()
    bias = call.optional(2)
    return _linear(weight, None if bias is None else bias.expand(len(weight)).clone())


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Module:
    if weight.ndim != 2:
        raise Unknown("Gemm or MatMul with a constant that is not a matrix")
    layer = nn.Linear(weight.shape[1], len(weight), bias is not None, device="meta")
    return _filled(layer, weight, bias)


def matmul(call: Call) -> nn.Module:
    """A product with a constant matrix, or of two activations."""
    if call.constants[1] is not None and call.constants[0] is None:
        return _linear(call.constant(1).T.contiguous(), None)
    return Apply(torch.matmul, call.constants)


def batch_norm(call: Call) -> nn.Module:
    """Batch-norm with constant statistics."""
    call.only(training_mode=0)
    scale, bias, mean, variance = (call.constant(place) for place in range(1, 5))
    function = partial(_normalised, eps=float(call.settings.get("epsilon", 1e-5)))
    return Apply(function, [None, scale, bias, mean, variance])


def _normalised(x: Tensor, scale: Tensor, bias: Tensor, m: Tensor, v: Tensor, eps: float) -> Tensor:
    return F.batch_norm(x, m, v, scale, bias, False, 0.0, eps)


def pool(call: Call) -> nn.Module:
    """Maximum or mean of windows."""
    kernel = list(call.settings.get("kernel_shape", []))
    axes = len(kernel)
    pads = _pads(call, axes)
    if axes not in (1, 2, 3) or pads[::2] != pads[1::2]:
        raise Unknown(f"{call.kind} with uneven padding")
    common: dict[str, Any] = {
        "kernel_size": kernel,
        "stride": list(call.settings.get("strides", [1] * axes)),
        "padding": pads[::-2],
        "ceil_mode": bool(call.settings.get("ceil_mode", 0)),
    }
    dilation = list(call.settings.get("dilations", [1] * axes))
    if call.kind == "MaxPool":
        call.only(storage_order=0)
        largest = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[axes - 1]
        return Apply(partial(largest, dilation=dilation, **common), [None])
    call.only(dilations=[1] * axes)
    mean = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[axes - 1]
    counted = bool(call.settings.get("count_include_pad", 0))
    return Apply(partial(mean, count_include_pad=counted, **common), [None])


def spatial_mean(x: Tensor) -> Tensor:
    """The mean over the positions of each channel; they become one."""
    return x.mean(tuple(range(2, x.ndim)), keepdim=True)


def conv_transpose(call: Call) -> nn.Module:
    """A transposed convolution; the weight is (input, output / groups, …)."""
    weight, groups, window = _window(call)
    axes = weight.ndim - 2
    pads = _pads(call, axes)
    if pads[::2] != pads[1::2] or "output_shape" in call.settings:
        raise Unknown("ConvTranspose with uneven padding or a fixed output shape")
    kinds: tuple[Callable[..., nn.Module], ...] = (
        nn.ConvTranspose1d,
        nn.ConvTranspose2d,
        nn.ConvTranspose3d,
    )
    layer = kinds[axes - 1](
        len(weight),
        weight.shape[1] * groups,
        padding=tuple(pads[::-2]),
        output_padding=tuple(call.settings.get("output_padding", [0] * axes)),
        **window,
    )
    return _filled(layer, weight, call.optional(2))


def instance_norm(call: Call) -> nn.Module:
    """Instance-norm over the positions of each channel of each image."""
    return _statistics(call, F.instance_norm)


def group_norm(call: Call) -> nn.Module:
    """Group-norm with a scale and a shift per channel, as since opset 21."""
    groups = int(call.settings["num_groups"])
    return _statistics(call, partial(F.group_norm, num_groups=groups))


def _statistics(call: Call, norm: Callable[..., Tensor]) -> nn.Module:
    """A norm that takes its statistics from its input."""
    eps = float(call.settings.get("epsilon", 1e-5))
    return Apply(partial(_scaled, norm=norm, eps=eps), [None, call.constant(1), call.constant(2)])


def _scaled(
    x: Tensor, scale: Tensor, shift: Tensor, norm: Callable[..., Tensor], eps: float
) -> Tensor:
    return norm(x, weight=scale, bias=shift, eps=eps)


def resize(call: Call) -> nn.Module:
    """Nearest or linear resizing of the last two axes, by constant factors or to constant sizes."""
    call.only(antialias=0, exclude_outside=0, keep_aspect_ratio_policy="stretch")
    if "axes" in call.settings or len(call.present) < 3:
        raise Unknown("Resize in an unusual form")
    how = call.settings.get("mode", "nearest")
    where = call.settings.get("coordinate_transformation_mode", "half_pixel")
    named: dict[str, Any] = {"mode": "nearest"}
    if how == "linear" and where in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        named = {"mode": "bilinear", "align_corners": where == "align_corners"}
    elif (how, where, call.settings.get("nearest_mode")) != ("nearest", "asymmetric", "floor"):
        raise Unknown(f"Resize with {how} and {where}")
    if call.present[2]:
        factors = call.constant(2).flatten().tolist()
        if len(factors) != 4 or factors[:2] != [1.0, 1.0]:
            raise Unknown("Resize of other axes than the last two")
        return Apply(partial(F.interpolate, scale_factor=tuple(factors[2:]), **named), [None])
    sizes = call.numbers(3)
    if len(sizes) != 4:
        raise Unknown("Resize of other axes than the last two")
    return Apply(partial(F.interpolate, size=sizes[2:], **named), [None])


def depth_to_space(call: Call) -> nn.Module:
    """Pixel shuffle, in torch's order of channels."""
    if call.settings.get("mode", "DCR") != "CRD":
        raise Unknown("DepthToSpace in the order DCR")
    return Apply(partial(F.pixel_shuffle, upscale_factor=int(call.settings["blocksize"])), [None])


def pad(call: Call) -> nn.Module:
    """Padding with a constant, or with the image's mirror or border on its last two axes."""
    how = call.settings.get("mode", "constant")
    pads, value = call.numbers(1), call.optional(2)
    axes = len(pads) // 2
    if (len(call.present) > 3 and call.present[3]) or max(map(abs, pads)) > _LARGEST_PADDING:
        raise Unknown("Pad with unsupported padding")
    turned = _turned(pads, axes)
    if how == "constant":
        fill = 0.0 if value is None else float(value)
        return Apply(partial(F.pad, pad=turned, value=fill), [None])
    if how not in _FILLS or axes != 4 or any(turned[4:]) or min(turned) < 0:
        raise Unknown(f"Pad with mode {how}")
    return Apply(partial(F.pad, pad=turned[:4], mode=_FILLS[how]), [None])
