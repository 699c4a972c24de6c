"""Other packages: installed versions, extras, short errors, and the user's ``module:name``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _version
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def version(package: str) -> str:
    """The version of an installed distribution, or ``not installed``."""
    try:
        return _version(package)
    except PackageNotFoundError:
        return "not installed"


def need(extra: str, *packages: str) -> None:
    """Check that the packages of an extra can be imported.

    Args:
        extra: as in ``pip install 'hauberk[extra]'``.
        packages: names to import.

    Raises:
        ValueError: one of them is not installed.
    """
    for package in packages:
        try:
            import_module(package)
        except ImportError as error:
            raise ValueError(
                f"The package {package} is needed and could not be imported; "
                f"run pip install 'hauberk[{extra}]'."
            ) from error


def gist(error: BaseException, longest: int = 160) -> str:
    """The beginning of an error's message as one printable line, to quote in another message."""
    line = "".join(c for c in " ".join(str(error).split()) if c.isprintable())
    return line[:longest].rstrip(" .:") or type(error).__name__


_PLACE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_place(text: str) -> bool:
    """Whether ``text`` has the form ``package.module:name``."""
    return _PLACE.fullmatch(text) is not None


@contextmanager
def here() -> Iterator[None]:
    """Allow imports from the current directory, as under ``python -m``."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def own(place: str, kind: type[T], wanted: str, *arguments: object) -> T:
    """An object of the user's own: what stands at ``place``, or what it gives when it is called.

    Args:
        place: ``package.module:name``.
        kind: its class.
        wanted: what to give, for errors, without its full stop.
        *arguments: of the call.

    Raises:
        ValueError: it cannot be imported, the call fails, or it is of another class.
    """
    found = find(place)
    try:
        made = found(*arguments) if callable(found) and not isinstance(found, kind) else found
    except Exception as error:  # a user's function may fail in any way
        raise ValueError(
            f"{place} failed ({type(error).__name__}: {gist(error)}); give {wanted}."
        ) from error
    if not isinstance(made, kind):
        raise ValueError(f"{place} gave an object of type {type(made).__name__}; give {wanted}.")
    return made


def find(place: str) -> Any:
    """Import ``package.module:name``; the current directory is searched first.

    Raises:
        ValueError: the module cannot be imported, or has no such name.
    """
    module, _, name = place.partition(":")
    try:
        with here():
            found = import_module(module)
    except Exception as error:  # a user's module may fail in any way
        raise ValueError(
            f"{place} could not be imported ({type(error).__name__}: {gist(error)}); give "
            "package.module:name, from the current directory or installed."
        ) from error
    if not hasattr(found, name):
        raise ValueError(f"The module {module} has no {name!r}; give one that it defines.")
    return getattr(found, name)
