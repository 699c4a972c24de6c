"""ONNX's slices, splits, comparisons and shapes as torch modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from types import MappingProxyType

import torch
from torch import Tensor, nn

from hauberk.onnx.call import Apply, Call, Unknown

_TYPES = MappingProxyType(
    {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 11: torch.float64}
)
"""ONNX's codes of the types that a graph may cast to."""


def _slice(call: Call) -> nn.Module:
    starts, ends = call.numbers(1), call.numbers(2)
    given = [len(call.present) > place and call.present[place] for place in (3, 4)]
    axes = call.numbers(3) if given[0] else tuple(range(len(starts)))
    steps = call.numbers(4) if given[1] else (1,) * len(starts)
    parts = tuple(zip(axes, starts, ends, steps, strict=True))
    return Apply(partial(_sliced, parts=parts), [None])


def _sliced(x: Tensor, parts: Sequence[tuple[int, int, int, int]]) -> Tensor:
    for axis, start, end, step in parts:
        size = x.shape[axis]
        if step < 0:
            places = torch.arange(size, device=x.device)[range(size)[slice(start, end, step)]]
            x = x.index_select(axis, places)
        else:
            kept = range(size)[slice(start, end)]
            x = x.narrow(axis, kept.start, len(kept))
            if step > 1:
                x = x.index_select(axis, torch.arange(0, len(kept), step, device=x.device))
    return x


def _split(call: Call) -> nn.Module:
    axis = int(call.settings.get("axis", 0))
    if len(call.present) > 1 and call.present[1]:
        return _Parts(partial(torch.split, split_size_or_sections=list(call.numbers(1)), dim=axis))
    count = int(call.settings.get("num_outputs", 0))
    if count < 1:
        raise Unknown("Split without sizes")
    return _Parts(partial(_even, count=count, axis=axis))


class _Parts(nn.Module):
    """A function with several results."""

    def __init__(self, function: Callable[[Tensor], Sequence[Tensor]]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The results in order."""
        return tuple(self.function(x))


def _even(x: Tensor, count: int, axis: int) -> Sequence[Tensor]:
    return torch.split(x, -(-x.shape[axis] // count), axis)


def _expand(call: Call) -> nn.Module:
    return Apply(_expanded, call.constants)


def _expanded(x: Tensor, shape: Tensor) -> Tensor:
    wanted = [int(n) for n in shape]
    own = [1] * (len(wanted) - x.ndim) + list(x.shape)
    wanted = [1] * (len(own) - len(wanted)) + wanted
    return x.expand([size if n == 1 else n for n, size in zip(wanted, own, strict=True)])


def _tile(call: Call) -> nn.Module:
    return Apply(partial(torch.tile, dims=call.numbers(1)), [None])


def _where(call: Call) -> nn.Module:
    return Apply(torch.where, call.constants)


def _cast(call: Call) -> nn.Module:
    code = int(call.settings["to"])
    if code not in _TYPES:
        raise Unknown(f"Cast to type {code}")
    return Apply(partial(_as, kind=_TYPES[code]), [None])


def _as(x: Tensor, kind: torch.dtype) -> Tensor:
    return x.to(kind)


def _shape(call: Call) -> nn.Module:
    ends = call.settings.get("start", 0), call.settings.get("end")
    return Apply(partial(_shape_of, part=slice(*ends)), [None])


def _shape_of(x: Tensor, part: slice) -> Tensor:
    return torch.tensor(x.shape[part], device=x.device)


def _filled(call: Call) -> nn.Module:
    """``ConstantOfShape``."""
    from onnx import numpy_helper

    held = call.settings.get("value")
    value = 0.0 if held is None else numpy_helper.to_array(held).item()
    return Apply(partial(_full, value=value), [None])


def _full(shape: Tensor, value: float) -> Tensor:
    return torch.full([int(n) for n in shape], value, device=shape.device)


def _einsum(call: Call) -> nn.Module:
    return Apply(partial(torch.einsum, str(call.settings["equation"])), call.constants)


def _many(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Call], nn.Module]:
    return lambda call: Apply(partial(_folded, function=function), call.constants)


def _folded(*parts: Tensor, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    return reduce(function, parts)


def _cumulative(call: Call) -> nn.Module:
    call.only(exclusive=0, reverse=0)
    (axis,) = call.numbers(1)
    return Apply(partial(torch.cumsum, dim=axis), [None])


def _triangle(call: Call) -> nn.Module:
    place = call.numbers(1)[0] if len(call.present) > 1 and call.present[1] else 0
    function = torch.triu if call.settings.get("upper", 1) else torch.tril
    return Apply(partial(function, diagonal=place), [None])


def _plain(function: Callable[..., Tensor]) -> Callable[[Call], nn.Module]:
    return lambda call: Apply(function, call.constants)


def _space_to_depth(call: Call) -> nn.Module:
    return Apply(partial(_packed, size=int(call.settings["blocksize"])), [None])


def _packed(x: Tensor, size: int) -> Tensor:
    n, c, h, w = x.shape
    parts = x.reshape(n, c, h // size, size, w // size, size).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, c * size * size, h // size, w // size)


INDEXING: Mapping[str, Callable[[Call], nn.Module]] = MappingProxyType(
    {
        "Slice": _slice,
        "Split": _split,
        "Expand": _expand,
        "Tile": _tile,
        "Where": _where,
        "Cast": _cast,
        "Shape": _shape,
        "ConstantOfShape": _filled,
        "Einsum": _einsum,
        "Max": _many(torch.maximum),
        "Min": _many(torch.minimum),
        "Sum": _many(torch.add),
        "CumSum": _cumulative,
        "Trilu": _triangle,
        "SpaceToDepth": _space_to_depth,
        "Greater": _plain(torch.gt),
        "GreaterOrEqual": _plain(torch.ge),
        "Less": _plain(torch.lt),
        "LessOrEqual": _plain(torch.le),
        "Equal": _plain(torch.eq),
        "Not": _plain(torch.logical_not),
        "And": _plain(torch.logical_and),
        "Or": _plain(torch.logical_or),
    }
)
