"""A gradient for networks that have none: the backward pass is approximated, call by call.

    y = f(x),   ∂y/∂x := 1   for rounding, signs, detached values, custom gradients
    y = σ(x),   ∂y/∂x := σ'(x) + leak   for functions that saturate

Every call of a torch function inside the network is seen, in modules, plain functions and replayed
graphs alike, and its value is never changed. So no verdict depends on it: a point that is found
this way is judged by the network itself. Gradients of single calls that are NaN or infinite are
zero.

Source: Athalye, Carlini and Wagner (2018), arXiv 1802.00420, §4.1 (BPDA).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode

from hauberk.attack import finite
from hauberk.ops.straight_through import through

_STEPS = (
    "round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "detach", "clamp", "clip",
    "clamp_min", "clamp_max", "hardtanh", "nan_to_num",
)  # fmt: skip
_IDENTITY = frozenset({*_STEPS, *(f"{name}_" for name in _STEPS), "heaviside", "relu6"})
"""Calls whose gradient with respect to their first argument is taken for 1."""
_LEAK: Mapping[str, float] = MappingProxyType(
    {
        "sigmoid": 0.05,
        "hardsigmoid": 0.1,
        "tanh": 0.1,
        "softsign": 0.05,
        "hardswish": 0.1,
        "relu": 0.01,
    }
)
"""What is added to the slope of a call that saturates."""
_COMPARISONS: Mapping[str, float] = MappingProxyType(
    {
        **dict.fromkeys(("gt", "ge", "greater", "greater_equal", "__gt__", "__ge__"), 1.0),
        **dict.fromkeys(("lt", "le", "less", "less_equal", "__lt__", "__le__"), -1.0),
    }
)
"""The sign of (first − second argument) at which a comparison holds."""
_LAYERS = frozenset({"conv1d", "conv2d", "linear", "matmul", "addmm", "mm", "__matmul__"})
_CASTS = frozenset({"float", "double", "half", "bfloat16", "to", "type", "type_as"})
_INTEGERS = frozenset({"int", "long", "short", "byte", "char"})
_HIDDEN = {
    Tensor.requires_grad.__get__: False,  # type: ignore[attr-defined]
    Tensor.is_leaf.__get__: True,  # type: ignore[attr-defined]
    Tensor.grad_fn.__get__: None,  # type: ignore[union-attr]
}
"""Attributes by which a network could tell that it is differentiated, and what they show."""
_DATA = Tensor.data.__get__  # type: ignore[attr-defined]


class BackwardPass(TorchFunctionMode):
    """While it is active, torch's functions have the gradients of the module's docstring.

    Args:
        comparisons: whether ``x > c``, turned into a number, has the gradient of ``x − c``.
        origin: the images, if the first layer with weights is to be differentiated as if it were
            applied to them, whatever is done before.
    """

    def __init__(self, comparisons: bool = False, origin: Tensor | None = None) -> None:
        super().__init__()
        self.comparisons, self.origin = comparisons, origin
        self._values: list[Tensor] = []
        self._made: dict[Any, Tensor] = {}
        self._compared: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch; its value with another gradient."""
        name, given = getattr(func, "__name__", ""), dict(kwargs or {})
        if name == "__get__":
            return self._attribute(func, args)
        if name == "_set_grad_enabled":
            return func(True)
        if name in _LAYERS and self.origin is not None:
            args = (self._direct(args[0]), *args[1:])
        args = tuple(self._bridged(arg) for arg in args)
        return self._kept(self._called(func, name, args, given))

    def _direct(self, value: Any) -> Any:
        """The input of a layer, with the gradient of the images if it has as many pixels."""
        origin = self.origin
        assert origin is not None
        if not isinstance(value, Tensor) or value.numel() != origin.numel():
            return value
        self.origin = None
        return through(origin.reshape(value.shape).to(value.dtype), value)

    def _attribute(self, func: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if func == _DATA:
            return args[0]
        return _HIDDEN[func] if func in _HIDDEN else func(*args)

    def _called(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], given: dict[str, Any]
    ) -> Any:
        first = args[0] if args and isinstance(args[0], Tensor) else None
        if first is None:
            return func(*args, **given)
        if self.comparisons and (name in _COMPARISONS or id(first) in self._compared):
            return self._comparison(func, name, args, given)
        if not first.is_floating_point() or not first.requires_grad:
            return func(*args, **given)
        if name in _IDENTITY:
            return _straight(func, name, args, given)
        out = func(*args, **given)
        if name in _LEAK and out.shape == first.shape:
            small = _LEAK[name] * finite(first)
            return out + (small - small.detach())
        if name in _INTEGERS or (name in _CASTS and not out.is_floating_point()):
            return through(first, out.to(first.dtype))
        return out

    def _comparison(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], given: dict[str, Any]
    ) -> Any:
        """A comparison, or a number made of one."""
        out, first = func(*args, **given), args[0]
        if name in _COMPARISONS and isinstance(out, Tensor) and len(args) > 1:
            self._compared[id(out)] = (out, _COMPARISONS[name] * (first - args[1]))
        elif name in _CASTS and out.is_floating_point():
            return through(self._compared[id(first)][1].to(out.dtype), out)
        return out

    def _bridged(self, value: Any) -> Any:
        """A value without the gradient of a user's own `torch.autograd.Function`."""
        if not isinstance(value, Tensor) or not _is_custom(value.grad_fn):
            return value
        before = self._before(value.grad_fn, value.shape)
        return value if before is None else through(before, value)

    def _before(self, node: Any, shape: torch.Size) -> Tensor | None:
        """The tensor of this shape that a custom function was applied to."""
        for parent, _ in node.next_functions:
            if parent is None:
                continue
            found = self._made.get(parent)
            if found is None and _is_custom(parent):
                found = self._before(parent, shape)
            if found is not None and found.shape == shape:
                return found
        return None

    def _kept(self, out: Any) -> Any:
        """Remember a value, and make its gradient finite."""
        if isinstance(out, Tensor) and out.requires_grad and out.is_floating_point():
            out.register_hook(_finite)  # type: ignore[no-untyped-call]
            self._made[out.grad_fn] = out
            if out.ndim == 2:
                self._values.append(out)
        return out

    def finish(self, logits: Tensor) -> list[Tensor]:
        """After leaving the mode: the values of the output's shape, the output last.

        Args:
            logits: the output of the network.
        """
        values = [head for head in self._values if head.shape == logits.shape]
        return [*values, self._bridged(logits)]


def _finite(grad: Tensor | None) -> Tensor | None:
    return None if grad is None else finite(grad)


def _straight(
    func: Callable[..., Any], name: str, args: tuple[Any, ...], given: dict[str, Any]
) -> Tensor:
    """The value of a call, with the gradient of its first argument."""
    first: Tensor = args[0]
    with torch.no_grad():
        plain = first.detach().clone()
        out = func(plain, *args[1:], **given)
    if not isinstance(out, Tensor) or out.shape != first.shape:
        result: Tensor = func(*args, **given)
        return result
    made = through(first, out)
    return first.copy_(made) if name.endswith("_") else made


def _is_custom(node: Any) -> bool:
    """Whether a gradient is computed by code of the user's."""
    if not isinstance(node, BackwardCFunction):
        return False
    return not type(node)._forward_cls.__module__.startswith("hauberk.")  # type: ignore[attr-defined]
