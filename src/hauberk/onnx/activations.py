"""ONNX's activations and norms over the last axes as torch modules, with the exact gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.onnx.call import Apply, Call, Unknown

_SELU_ALPHA, _SELU_GAMMA = 1.6732631921768188, 1.0507010221481323


def _alone(function: Callable[[Tensor], Tensor]) -> nn.Module:
    return Apply(function, [None])


def _elu(call: Call) -> nn.Module:
    return _alone(partial(F.elu, alpha=float(call.settings.get("alpha", 1.0))))


def _celu(call: Call) -> nn.Module:
    return _alone(partial(F.celu, alpha=float(call.settings.get("alpha", 1.0))))


def _selu(call: Call) -> nn.Module:
    alpha = float(call.settings.get("alpha", _SELU_ALPHA))
    gamma = float(call.settings.get("gamma", _SELU_GAMMA))
    return _alone(partial(_scaled_elu, alpha=alpha, gamma=gamma))


def _scaled_elu(x: Tensor, alpha: float, gamma: float) -> Tensor:
    return gamma * F.elu(x, alpha)


def _hard_sigmoid(call: Call) -> nn.Module:
    slope = float(call.settings.get("alpha", 0.2))
    shift = float(call.settings.get("beta", 0.5))
    return _alone(partial(_clipped_line, slope=slope, shift=shift))


def _clipped_line(x: Tensor, slope: float, shift: float) -> Tensor:
    return (slope * x + shift).clamp(0.0, 1.0)


def _shrink(call: Call) -> nn.Module:
    edge, shift = (float(call.settings.get(name, d)) for name, d in (("lambd", 0.5), ("bias", 0.0)))
    return _alone(partial(_shrunk, edge=edge, shift=shift))


def _shrunk(x: Tensor, edge: float, shift: float) -> Tensor:
    return torch.where(x > edge, x - shift, torch.where(x < -edge, x + shift, 0.0))


def _thresholded(call: Call) -> nn.Module:
    edge = float(call.settings.get("alpha", 1.0))
    return _alone(partial(F.threshold, threshold=edge, value=0.0))


def _swish(call: Call) -> nn.Module:
    return _alone(partial(_gated, alpha=float(call.settings.get("alpha", 1.0))))


def _gated(x: Tensor, alpha: float) -> Tensor:
    return x * torch.sigmoid(alpha * x)


def _log_softmax(call: Call) -> nn.Module:
    return _alone(partial(torch.log_softmax, dim=int(call.settings.get("axis", -1))))


def _layer_norm(call: Call) -> nn.Module:
    call.only(stash_type=1)
    axis, eps = int(call.settings.get("axis", -1)), float(call.settings.get("epsilon", 1e-5))
    scale, shift = call.constant(1), call.optional(2)
    return Apply(partial(_layer_normed, axis=axis, eps=eps), [None, scale, shift])


def _layer_normed(x: Tensor, scale: Tensor, *shift: Tensor, axis: int, eps: float) -> Tensor:
    shape = x.shape[axis % x.ndim :]
    bias = shift[0].expand(shape) if shift else None
    return F.layer_norm(x, shape, scale.expand(shape), bias, eps)


def _rms_norm(call: Call) -> nn.Module:
    axis, eps = int(call.settings.get("axis", -1)), float(call.settings.get("epsilon", 1e-5))
    return Apply(partial(_rms_normed, axis=axis, eps=eps), [None, call.constant(1)])


def _rms_normed(x: Tensor, scale: Tensor, axis: int, eps: float) -> Tensor:
    shape = x.shape[axis % x.ndim :]
    return F.rms_norm(x, shape, scale.expand(shape), eps)


def _length(call: Call) -> nn.Module:
    """``LpNormalization``: vectors of length 1."""
    order = int(call.settings.get("p", 2))
    axis = int(call.settings.get("axis", -1))
    if order not in (1, 2):
        raise Unknown(f"LpNormalization with p {order}")
    return _alone(partial(F.normalize, p=order, dim=axis, eps=0.0))


def _same(function: Callable[[Tensor], Tensor]) -> Callable[[Call], nn.Module]:
    return lambda call: Apply(function, call.constants)


ACTIVATIONS: Mapping[str, Callable[[Call], nn.Module]] = MappingProxyType(
    {
        "Elu": _elu,
        "Celu": _celu,
        "Selu": _selu,
        "HardSigmoid": _hard_sigmoid,
        "HardSwish": _same(F.hardswish),
        "Softplus": _same(F.softplus),
        "Softsign": _same(F.softsign),
        "Mish": _same(F.mish),
        "Swish": _swish,
        "Shrink": _shrink,
        "ThresholdedRelu": _thresholded,
        "LogSoftmax": _log_softmax,
        "LayerNormalization": _layer_norm,
        "RMSNormalization": _rms_norm,
        "LpNormalization": _length,
        "Sin": _same(torch.sin),
        "Cos": _same(torch.cos),
        "Relu": _same(F.relu),
        "Sigmoid": _same(torch.sigmoid),
        "Tanh": _same(torch.tanh),
        "Erf": _same(torch.erf),
    }
)
