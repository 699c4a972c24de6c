"""Settings of frozen values by name, those of the values that they hold included."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Owner = TypeVar("Owner", bound=DataclassInstance)

Setting: TypeAlias = bool | int | float | str | tuple[str, ...]
"""The value of one setting."""


def settings(owner: DataclassInstance) -> dict[str, Any]:
    """Every setting of a value by its name, those of the values that it holds included.

    A field with the metadata ``{"flag": None}`` holds an object and is no setting.
    """
    found: dict[str, Any] = {}
    for field in fields(owner):
        value = getattr(owner, field.name)
        if field.metadata.get("flag", "") is None:
            continue
        if is_dataclass(value) and not isinstance(value, type):
            found |= settings(value)
        else:
            found[field.name] = value
    return found


def changed(owner: Owner, changes: Mapping[str, Setting]) -> Owner:
    """A copy with other settings, wherever in the value they are; it checks itself anew.

    Args:
        owner: a method, or one of the values here.
        changes: new values by the names of their settings.

    Raises:
        ValueError: a setting that there is not (the nearest one is named), or a value outside its
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
    return _changed(owner, changes)


def _changed(owner: Owner, changes: Mapping[str, Setting]) -> Owner:
    new: dict[str, Any] = {}
    for field in fields(owner):
        value = getattr(owner, field.name)
        if field.name in changes:
            new[field.name] = changes[field.name]
        elif (
            is_dataclass(value) and not isinstance(value, type) and changes.keys() & settings(value)
        ):
            new[field.name] = _changed(value, changes)
    return replace(owner, **new)
