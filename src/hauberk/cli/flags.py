"""Flags from frozen dataclasses: names, types, defaults, help; and values from text or TOML.

A field is a flag. A field that holds another frozen dataclass contributes that one's fields,
without a prefix. A flag is named like its field (``attack_steps`` is ``--attack-steps``) unless the
field's metadata name it: ``field(metadata={"flag": "from"})``; ``{"flag": None}`` is no flag. The
help is the text under ``Attributes:`` in the docstring.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Literal, TypeAlias, TypeVar, get_args, get_origin

from hauberk.nested import replaced

Value: TypeAlias = str | int | float | bool | list[str | int | float]
"""A value of a flag, as a command line or a TOML file gives it."""
T = TypeVar("T")


@dataclass(frozen=True)
class Text:
    """A value that is written as one word, such as ``linf:8/255``, and kept as it was written."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Flag:
    """One flag.

    Attributes:
        name: without dashes, ``attack-steps``.
        kind: the type of the field.
        default: value if the flag is not given; ``MISSING`` if it must be given.
        help: the text of the docstring.
        group: heading in the help; empty for the flags of the command itself.
        saved: whether it is a setting of the run, and may stand in a file.
        positional: given without its name.
        commas: several values may be separated by commas.
        alone: value if the flag is given without one.
        example: how it may be given.
        path: attributes that lead to its field.
    """

    name: str
    kind: object
    default: object = MISSING
    help: str = ""
    group: str = ""
    saved: bool = True
    positional: bool = False
    commas: bool = False
    alone: str = ""
    example: str = ""
    path: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Its name in a TOML file and in Python."""
        return self.name.replace("-", "_")

    @property
    def spelled(self) -> str:
        """Its name in an error."""
        return self.name if self.positional else f"--{self.name}"

    @property
    def several(self) -> bool:
        """Whether it takes a list of values."""
        return get_origin(self.kind) is tuple

    def read(self, value: object, source: str = "", hint: str = ".") -> object:
        """The value of the field.

        Args:
            value: text, a TOML value, or the field's own type.
            source: how to name the flag in an error.
            hint: end of the error, with its full stop.

        Raises:
            ValueError: the value does not fit the type.
        """
        if self.commas:
            value = split(value)
        try:
            return _convert(self.kind, value)
        except _Unfit as unfit:
            raise ValueError(
                f"{source or self.key} was given as {_shown(value)}; give {unfit}{hint}"
            ) from None

    def of(self, owner: object) -> object:
        """Its value in an instance of the dataclass that it is a flag of."""
        return functools.reduce(getattr, self.path, owner)


def spellings(flag: Flag) -> tuple[str, str]:
    """``--atmc.half`` and ``--atmc.no-half``."""
    method, dot, name = flag.name.rpartition(".")
    return f"--{method}{dot}{name}", f"--{method}{dot}no-{name}"


@dataclass(frozen=True)
class Setting:
    """A value that was given for a flag.

    Attributes:
        value: as it stands on the command line or in the file.
        source: what to call it in an error.
        hint: end of the error: where to read more.
    """

    value: Value
    source: str
    hint: str = "."

    def read(self, flag: Flag) -> object:
        """The value of the flag's type.

        Raises:
            ValueError: it does not fit.
        """
        return flag.read(self.value, self.source, self.hint)


Settings = Mapping[str, Setting]
"""Settings by flag name."""


class _Unfit(Exception):
    """A value of another type; the message says what to give."""


def split(value: object) -> list[object]:
    """``3,4`` as its parts; the parts of each element of a list."""
    if isinstance(value, list | tuple):
        return [part for element in value for part in split(element)]
    return [part for part in value.split(",") if part] if isinstance(value, str) else [value]


def number(text: str) -> float:
    """``0.01`` or ``1%``.

    Raises:
        ValueError: neither.
    """
    percent = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*%\s*", text)
    return float(percent[1]) / 100 if percent else float(text)


def wanted(kind: object) -> str:
    """A description of the values of this type, for an error."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    return _WANTED.get(kind, "a text")


_WANTED: dict[object, str] = {
    int: "a whole number",
    float: "a number, such as 0.9, or 90% of a whole",
    bool: "true or false",
}


def _convert(kind: object, value: object) -> object:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is tuple:
        return tuple(_convert(inner[0], v) for v in _elements(value))
    if origin is UnionType:
        [kind] = (k for k in inner if k is not NoneType)
        return None if value in ("", None) else _convert(kind, value)
    if origin is Literal and str(value) in inner:
        return str(value)
    if isinstance(kind, type) and issubclass(kind, Text) and type(value) in (str, int):
        return kind(str(value))
    return _plain(kind, value)


def _elements(value: object) -> Iterable[object]:
    return value if isinstance(value, list | tuple) else (value,)


def _plain(kind: object, value: object) -> object:
    """A value of a type that text and TOML both have, or one that has the type already."""
    wrong = isinstance(value, bool) != (kind is bool) or isinstance(value, list | tuple)
    try:
        if wrong:
            raise ValueError
        if isinstance(kind, type) and isinstance(value, kind):
            return value
        if kind is float and isinstance(value, str | int):
            return number(str(value))
        if kind is int and isinstance(value, str):
            return int(value)
        if kind is str or kind is Path:
            return kind(str(value))
    except ValueError:
        pass
    raise _Unfit(wanted(kind))


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def flags_of(cls: type[object], group: str = "") -> dict[str, Flag]:
    """The flags of a frozen dataclass, by name.

    Args:
        cls: the dataclass.
        group: heading of the flags that are no nested dataclass's.
    """
    return {flag.name: flag for flag in _walk(cls, group, MISSING, ())}


def _walk(cls: type[object], group: str, owner: object, path: tuple[str, ...]) -> Iterator[Flag]:
    hints, texts = typing.get_type_hints(cls), attributes(cls)
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.metadata.get("flag", "") is None:
            continue
        default = _default(field) if owner is MISSING else getattr(owner, field.name)
        kind, way = hints[field.name], (*path, field.name)
        if is_nested(kind):
            yield from _walk(kind, _title(kind), default, way)
        else:
            yield Flag(
                flag_name(field), kind, default, texts.get(field.name, ""), group, path=way,
                **{k: v for k, v in field.metadata.items() if k != "flag"},
            )  # fmt: skip


def is_nested(kind: object) -> typing.TypeGuard[type[object]]:
    """Whether a field of this type contributes the fields of a dataclass."""
    return dataclasses.is_dataclass(kind) and not (
        isinstance(kind, type) and issubclass(kind, Text)
    )


def flag_name(field: dataclasses.Field[object]) -> str:
    """Its name as a flag."""
    return str(field.metadata.get("flag") or field.name.replace("_", "-"))


def _default(field: dataclasses.Field[T]) -> T:
    """Its default; ``MISSING`` if there is none."""
    factory = field.default_factory
    return field.default if factory is MISSING else factory()  # type: ignore[return-value]


def _title(cls: type[object]) -> str:
    """``training attack`` for ``TrainingAttack``, ``evaluation`` for ``EvaluationSettings``."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", cls.__name__).lower()
    return words.removesuffix(" settings")


def docstring(cls: type[object]) -> str:
    """The docstring of a class; from its source under ``python -OO``, which drops docstrings."""
    if sys.flags.optimize < 2:
        return inspect.cleandoc(cls.__doc__ or "")
    try:
        [node] = ast.parse(inspect.cleandoc(inspect.getsource(cls))).body
    except (OSError, TypeError, SyntaxError):  # its source is not here
        return ""
    return (ast.get_docstring(node) or "") if isinstance(node, ast.ClassDef) else ""


def attributes(cls: type[object]) -> dict[str, str]:
    """The texts under ``Attributes:`` in the docstrings of a class and its base classes."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        below = docstring(base).partition("Attributes:\n")[2]
        for name, text in re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", below, re.MULTILINE):
            found[name] = " ".join(text.split()).replace("``", "")
    return found


def build(cls: Callable[..., T], values: Mapping[str, object], **others: object) -> T:
    """An instance of a frozen dataclass.

    Args:
        cls: the dataclass.
        values: of its flags, by name.
        **others: of fields that are no flags.

    Raises:
        ValueError: values that the dataclass refuses.
    """
    hints = typing.get_type_hints(cls)
    arguments = dict(others)
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        kind, default = hints[field.name], _default(field)
        if field.name in others:
            continue
        if is_nested(kind):
            made = (
                build(kind, values) if default is MISSING else replaced(default, values, flag_name)
            )
            arguments[field.name] = made
        elif flag_name(field) in values:
            arguments[field.name] = values[flag_name(field)]
    return cls(**arguments)


def near(name: str, known: Iterable[str], otherwise: str) -> str:
    """``did you mean --epochs?``, or another hint if nothing is near.

    Args:
        name: what was given.
        known: what may be given.
        otherwise: the other hint.
    """
    names = list(known)
    longer = [other for other in names if other.startswith(name)]
    found = longer or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {found[0]}?" if found else otherwise
