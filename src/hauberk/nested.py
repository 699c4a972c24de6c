"""Frozen dataclasses that hold others: all their settings by name, and copies with new ones."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Owner = TypeVar("Owner", bound=DataclassInstance)

SettingValue: TypeAlias = bool | int | float | str | tuple[str, ...]
"""The value of one setting."""


def settings(owner: DataclassInstance) -> dict[str, Any]:
    """Every setting of a value by its name, those of the values that it holds included.

    A field with the metadata ``{"flag": None}`` holds an object and is no setting.
    """
    found: dict[str, Any] = {}
    for field, value in _held(owner):
        found |= settings(value) if _holds_settings(value) else {field.name: value}
    return found


def changed(owner: Owner, changes: Mapping[str, SettingValue]) -> Owner:
    """A copy with other settings, wherever in the value they are; it checks itself anew.

    Args:
        owner: a method, or a part of a recipe.
        changes: new values by the names of their settings.

    Raises:
        ValueError: an unknown setting (the error names the nearest one), or a value outside its
            setting's range.
    """
    known = settings(owner)
    for name in changes:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = (
                f"did you mean {near[0]}?" if near else f"give one of {', '.join(sorted(known))}."
            )
            raise ValueError(f"{type(owner).__name__} has no setting {name!r}; {hint}")
    return replaced(owner, changes)


def replaced(
    owner: Owner,
    changes: Mapping[str, object],
    name: Callable[[Field[Any]], str] = lambda field: field.name,
) -> Owner:
    """A copy with new values; `changed` without its check of the names.

    Args:
        owner: a frozen dataclass.
        changes: new values by name; names of no field are ignored.
        name: the name of a field in ``changes``.

    Raises:
        ValueError: a value that a dataclass refuses.
    """
    new: dict[str, Any] = {}
    for field, value in _held(owner):
        if name(field) in changes:
            new[field.name] = changes[name(field)]
        elif _holds_settings(value):
            new[field.name] = replaced(value, changes, name)
    return replace(owner, **new)


def _held(owner: DataclassInstance) -> Iterator[tuple[Field[Any], Any]]:
    """The fields that are settings or hold some, with their values."""
    for field in fields(owner):
        if field.metadata.get("flag", "") is not None:
            yield field, getattr(owner, field.name)


def _holds_settings(value: object) -> TypeGuard[DataclassInstance]:
    return is_dataclass(value) and not isinstance(value, type)
