"""Digests of a user's source code: a file, and what it imports from its own folder."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from hauberk.runtime.packages import here

_OURS = Path(__file__).parents[1]
_INSTALLED = tuple(
    Path(folder).resolve()
    for folder in {sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib")}
)


def digest_of_place(place: str) -> str:
    """A digest of the code behind ``package.module:name``; empty if it is no source file.

    Args:
        place: a module that can be imported, the current directory first.
    """
    module = place.partition(":")[0]
    try:
        with here():
            spec = find_spec(module)
    except (ImportError, ValueError):  # whoever imports it says what is wrong
        return ""
    origin = Path(spec.origin) if spec and spec.origin else None
    return _digest(_with_imports([origin])) if origin and origin.suffix == ".py" else ""


def digest_of_classes(classes: Iterable[type]) -> str:
    """A digest of the code of a user's classes; empty if there are none.

    Installed packages and hauberk itself are left out. A class that was defined in a script or a
    session is its own text alone: the rest of a script may change from run to run.

    Args:
        classes: any; those of torch do not count.
    """
    files, texts = set[Path](), set[str]()
    for cls in classes:
        found = sys.modules.get(cls.__module__)
        path = Path(getattr(found, "__file__", None) or "")
        if cls.__module__ == "__main__" or path.suffix != ".py":
            texts |= set(_text(cls))
        elif not _is_installed(path):
            files.add(path)
    if not files and not texts:
        return ""
    return _digest([*_with_imports(sorted(files)), *sorted(texts)])


def _text(cls: type) -> Iterator[str]:
    try:
        yield inspect.cleandoc(inspect.getsource(cls))
    except (OSError, TypeError):  # a session keeps no source
        return


def _is_installed(path: Path) -> bool:
    full = path.resolve()
    return any(full.is_relative_to(folder) for folder in (_OURS, *_INSTALLED))


def _digest(sources: Iterable[Path | str]) -> str:
    """Of syntax trees, so that comments and layout do not count; of text that is no Python."""
    found = hashlib.blake2b(digest_size=8)
    for source in sources:
        text = source if isinstance(source, str) else _read(source)
        with suppress(SyntaxError, ValueError, RecursionError):
            text = ast.dump(ast.parse(text))
        found.update(text.encode(errors="replace") + b"\0")
    return found.hexdigest()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # removed since it was imported
        return ""


def _with_imports(files: Iterable[Path]) -> list[Path]:
    """The files and, in a stable order, those of their folders that they import."""
    found: dict[Path, None] = {}
    waiting = list(files)
    while waiting:
        path = waiting.pop(0)
        if path not in found and path.is_file():
            found[path] = None
            waiting += _imported(path)
    return list(found)


def _imported(path: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(_read(path))
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            names = [base, *(f"{base}.{alias.name}".strip(".") for alias in node.names)]
        else:
            continue
        for folder in (path.parent, path.parent.parent):
            for name in filter(None, names):
                place = folder.joinpath(*name.split("."))
                yield from (place.with_suffix(".py"), place / "__init__.py")
