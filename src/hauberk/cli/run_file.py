"""A run as a TOML file: settings by the names of their flags.

    epochs = 30          for  --epochs 30
    exclude = ["head"]   for  --exclude head
    reuse = true         for  --reuse

Flags on the command line override the file.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import tomli_w

from hauberk.class_names import few
from hauberk.cli.flags import Flag, Setting, Value, near
from hauberk.runtime import files
from hauberk.runtime.notes import note
from hauberk.runtime.packages import gist

NAME = "run.toml"
_LARGEST = 1 << 18  # bytes
_PLACE = re.compile(r"(?<![\w./-])(?!hub:)[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?![\w/])")
_MOST_DOTS = 256
"""Limit on the dots of a line: the time to read a key of many parts grows with their square."""


def read(path: Path, verb: str, *, tables: bool = False) -> dict[str, Setting]:
    """The settings in a file, by flag.

    Args:
        path: of the file.
        verb: that the file must be for, if it says which it is for.
        tables: whether keys may stand in tables; ``keep`` in ``[atmc]`` is then ``atmc.keep``.

    Raises:
        ValueError: the file is not TOML, is for another verb, or holds a value of another kind.
        OSError: the file cannot be read.
    """
    content = files.read(path, "a .toml file", _LARGEST)
    wanted, found = parse(content, str(path), tables=tables)
    refuse_verb(wanted, verb, str(path))
    places = dict.fromkeys(place for setting in found.values() for place in _code(setting.value))
    if places:
        note(
            f"{path} names code, which is run: {few([*places])}, from the current directory first."
        )
    return found


def parse(content: bytes, name: str, *, tables: bool = False) -> tuple[str, dict[str, Setting]]:
    """The verb that a file is for, empty if the file does not say, and its settings by flag.

    Args:
        content: of the file.
        name: of the file, for errors.
        tables: whether keys may stand in tables.

    Raises:
        ValueError: the content is not TOML, or holds a value of another kind.
    """
    try:
        text = content.decode()
        if any(line.count(".") > _MOST_DOTS for line in text.splitlines()):
            raise ValueError("a line has too many dots")
        found = tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"{name} is not TOML (too deep); write key = value.") from None
    except ValueError as error:
        raise ValueError(f"{name} is not TOML ({gist(error)}); write key = value.") from None
    verb = str(found.pop("verb", ""))
    return verb, {
        key.replace("_", "-"): Setting(_checked(value, key, name), f"{key} in {name}")
        for key, value in (_flat(found) if tables else found.items())
    }


def refuse_verb(found: str, verb: str, name: str) -> None:
    """Raise for a file of another verb.

    Args:
        found: the verb that the file names; empty if it names none.
        verb: the verb that reads it.
        name: of the file, for the error.

    Raises:
        ValueError: the file is for another verb.
    """
    if found not in ("", verb):
        raise ValueError(f"{name} is for hauberk {found}; give one for {verb}, or use that verb.")


def refuse_unknown(found: Mapping[str, Setting], flags: Mapping[str, Flag]) -> None:
    """Check that every key of a file is a setting of the run.

    Args:
        found: the settings of the file, by key.
        flags: the flags of the run, by name.

    Raises:
        ValueError: one is not; the error names the nearest setting.
    """
    known = [flag.key for flag in flags.values() if flag.saved]
    for name, setting in found.items():
        key = name.replace("-", "_")
        if key not in known:
            where = setting.source.partition(" in ")[2]
            hint = near(key, known, f"give one of {', '.join(sorted(known))}.")
            raise ValueError(f"{where} has the key {key!r}, which is no flag; {hint}")


def write(verb: str, settings: Mapping[str, object]) -> str:
    """The content of a file.

    Args:
        verb: that it is for.
        settings: by key; those of one method, in a sweep, as a mapping.
    """
    return tomli_w.dumps({"verb": verb, **settings})


def plain(value: object) -> object:
    """A setting as TOML and JSON have it."""
    if isinstance(value, tuple | list):
        return [plain(element) for element in value]
    return value if isinstance(value, bool | int | float) else str(value)


def _code(value: object) -> list[str]:
    """Each ``package.module:name`` in a setting."""
    texts = value if isinstance(value, list | tuple) else [value]
    return [place for text in texts for place in _PLACE.findall(str(text))]


def _flat(found: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for key, value in found.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{name}", inner) for name, inner in value.items())
        else:
            yield key, value


def _checked(value: object, key: str, name: str) -> Value:
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list) and all(isinstance(v, str | int | float) for v in value):
        return value
    raise ValueError(
        f"{name} has {key} = {gist(ValueError(str(value)), 40)}; give text, a number, true or "
        "false, or a list of texts or numbers."
    )
