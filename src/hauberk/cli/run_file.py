"""A run as a TOML file: the flags of a verb, by their names, and back.

    epochs = 30          for  --epochs 30
    exclude = ["head"]   for  --exclude head
    reuse = true         for  --reuse

It is read as flags that stand before those of the command line, which therefore override it.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from hauberk.cli.parsing import number
from hauberk.runtime import files
from hauberk.runtime.packages import gist

NAME = "run.toml"
Value: TypeAlias = str | int | float | bool | list[str | int | float]
_SAID_ELSEWHERE = ("settings", "json", "resume", "verb")
"""Fields that are no setting of the run itself."""


def read(path: Path, verb: str, *, tables: bool = False) -> dict[str, Value]:
    """The settings in a file, by the names of their flags.

    Args:
        path: of the file.
        verb: that it must be for, where it says for which it is.
        tables: whether keys may stand in tables; ``keep`` in ``[atmc]`` is then ``atmc.keep``.

    Raises:
        ValueError: no TOML, a file for another verb, or a value that is none for a flag.
        OSError: a file that cannot be read.
    """
    content = files.read(path, "a .toml file", 1 << 20)
    try:
        found = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML ({gist(error)}); write key = value.") from None
    wanted = found.pop("verb", verb)
    if wanted != verb:
        raise ValueError(f"{path} is for hauberk {wanted}; give one for {verb}, or use that verb.")
    if tables:
        found = dict(_flat(found))
    for key, value in found.items():
        several = isinstance(value, list) and all(isinstance(v, str | int | float) for v in value)
        if not several and not isinstance(value, str | int | float | bool):
            raise ValueError(
                f"{path} has {key} = {gist(ValueError(str(value)), 40)}; give text, a number, "
                "true or false, or a list of texts or numbers."
            )
    return {key.replace("-", "_"): value for key, value in found.items()}


def _flat(found: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in found.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{name}", inner) for name, inner in value.items())
        else:
            yield key, value


def words(found: dict[str, Value], cls: type[Any], path: Path) -> list[str]:
    """The same as words of a command line.

    Args:
        found: what `read` gave.
        cls: the verb's flags.
        path: of the file, for the sentence.

    Raises:
        ValueError: a key that is no flag; the nearest one is named.
    """
    known = {_flag(field.name) for field in _fields(cls)}
    return [word for key, value in found.items() for word in _words(key, value, known, path)]


def _words(key: str, value: Value, known: set[str], path: Path) -> list[str]:
    if key not in known or key in _SAID_ELSEWHERE:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"give one of {', '.join(sorted(known))}."
        raise ValueError(f"{path} has the key {key!r}, which is no flag; {hint}")
    return flag_words(key, value)


def flag_words(key: str, value: Value) -> list[str]:
    """One setting as words of a command line."""
    flag = key.replace("_", "-")
    if isinstance(value, bool):
        method, dot, switch = flag.rpartition(".")
        return [f"--{method}{dot}{'' if value else 'no-'}{switch}"]
    if isinstance(value, list):
        return [f"--{flag}", *(number(str(v)) for v in value)]
    return [number(f"--{flag}={value}")]


def text(verb: str, flags: Any) -> str:
    """What `read` reads: every setting of a run, defaults included."""
    return as_toml(verb, resolved(flags))


def resolved(flags: Any) -> dict[str, Any]:
    """Every setting of a run by its flag; what is empty is left out."""
    return {
        _flag(field.name): getattr(part, field.name)
        for part in (flags, flags.settings)
        for field in dataclasses.fields(part)
        if field.name not in _SAID_ELSEWHERE and getattr(part, field.name) not in ("", ())
    }


def as_toml(verb: str, found: Mapping[str, Any]) -> str:
    """Settings as `read` reads them."""
    lines = [f"{key} = {_toml(value)}" for key, value in {"verb": verb, **found}.items()]
    return "\n".join(lines) + "\n"


def save(out: Path, verb: str, flags: Any) -> None:
    """Write the resolved settings beside the results.

    Raises:
        OSError: the folder cannot be written.
    """
    files.write(out / NAME, text(verb, flags).encode())


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(json.dumps(v, ensure_ascii=False) for v in value)}]"
    return json.dumps(str(value), ensure_ascii=False)


def _fields(cls: type[Any]) -> Iterator[dataclasses.Field[Any]]:
    """Of the verb, and of the method that is joined to it."""
    for field in dataclasses.fields(cls):
        if field.name == "settings" and isinstance(field.type, type):
            yield from dataclasses.fields(field.type)
        else:
            yield field


def _flag(name: str) -> str:
    return name.rstrip("_")


def split(rest: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The file at the head of a verb's words, if there is one, and the other words."""
    if rest and not rest[0].startswith("-") and rest[0].lower().endswith(".toml"):
        return Path(rest[0]), list(rest[1:])
    return None, list(rest)
