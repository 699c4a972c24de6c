"""Check values that were read back against those that would be written: types, shapes, keys."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import Tensor

LARGEST = 1 << 62
"""Limit on whole numbers: a larger one could not be written, and overflows as a float."""


class Misfit(ValueError):
    """A value is not one that would be written; the message is a clause that names its place."""


def alike(found: Any, like: Any, place: str) -> None:
    """Check a value against one of the same kind: types, keys, lengths, and shapes of tensors.

    Args:
        found: nested dicts and lists of tensors, numbers and texts.
        like: what would be written now.
        place: of the value, for the error.

    Raises:
        Misfit: they differ.
    """
    if isinstance(like, Tensor):
        tensor(found, like.shape, like, place)
    elif isinstance(like, Mapping):
        keys(found, like, place)
        for key, value in like.items():
            alike(found[key], value, f"{place}.{key}")
    elif isinstance(like, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(like):
            raise Misfit(f"{place} is not a list of {len(like)}")
        for number, (value, other) in enumerate(zip(found, like, strict=True)):
            alike(value, other, f"{place}.{number}")
    elif type(like) in (int, float):
        conforms(found, float, place)  # a number that began as 20 may have become 20.5
    elif type(found) is not type(like):
        raise Misfit(f"{place} is no {type(like).__name__}")


def tensor(found: Any, shape: Sequence[int], like: Tensor, place: str) -> None:
    """Check that a value is a tensor.

    Args:
        found: the value.
        shape: that it must have.
        like: a tensor of the type that it must have.
        place: of the value, for the error.

    Raises:
        Misfit: it is none, or another one.
    """
    if not isinstance(found, Tensor):
        raise Misfit(f"{place} is no tensor")
    if found.dtype != like.dtype or tuple(found.shape) != tuple(shape):
        want, have = (
            f"{str(kind).removeprefix('torch.')} {list(size)}"
            for kind, size in ((like.dtype, shape), (found.dtype, found.shape))
        )
        raise Misfit(f"{place} is {have} and not {want}")


def keys(found: Any, wanted: Iterable[Any], place: str) -> None:
    """Check that a value is a dict with certain keys, in any order.

    Args:
        found: the value.
        wanted: the keys.
        place: of the value, for the error.

    Raises:
        Misfit: it is none, or its keys are others.
    """
    if not isinstance(found, Mapping) or set(found) != set(wanted):
        raise Misfit(f"{place} has other keys")


def within(found: Any, low: int, high: int, place: str) -> int:
    """A value that must be a whole number from ``low`` to ``high``.

    Args:
        found: the value.
        low: the least number.
        high: the largest.
        place: of the value, for the error.

    Raises:
        Misfit: it is none, or outside.
    """
    if type(found) is not int or not low <= found <= high:
        raise Misfit(f"{place} is no number from {low} to {high}")
    return found


def conforms(found: Any, kind: Any, place: str) -> None:
    """Check a value against a type annotation, the fields of dataclasses included.

    Args:
        found: the value.
        kind: a class, or a union, `Literal`, mapping, sequence or tuple of types.
        place: of the value, for the error.

    Raises:
        Misfit: it is of another type.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return
    if origin in (Union, types.UnionType):
        _one_of(found, parts, place)
    elif origin is Literal:
        if not any(type(found) is type(each) and found == each for each in parts):
            raise Misfit(f"{place} is none of {', '.join(map(str, parts))}")
    elif origin is not None and issubclass(origin, Mapping):
        _class(found, Mapping, place)
        for key, value in found.items():
            conforms(key, parts[0], f"a key of {place}")
            conforms(value, parts[1], f"{place}.{str(key)[:40]}")
    elif origin is not None:
        _class(found, list | tuple, place)
        for number, value in enumerate(found):
            conforms(value, parts[0], f"{place}.{number}")
    else:
        _plain(found, kind, place)


def _one_of(found: Any, parts: Sequence[Any], place: str) -> None:
    fault = None
    for part in parts:
        try:
            return conforms(found, part, place)
        except Misfit as error:
            fault = error
    raise fault or Misfit(place)


def _plain(found: Any, kind: type, place: str) -> None:
    if kind is float and type(found) is int:
        kind = int  # JSON has one kind of number
    _class(found, kind, place)
    if kind is int and (type(found) is bool or abs(found) > LARGEST):
        raise Misfit(f"{place} is no int")
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        for field in fields(kind):
            conforms(getattr(found, field.name), hints[field.name], f"{place}.{field.name}")


def _class(found: Any, kind: Any, place: str) -> None:
    if not isinstance(found, kind):
        raise Misfit(f"{place} is no {getattr(kind, '__name__', 'list').lower()}")
