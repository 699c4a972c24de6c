"""Other packages: which version is installed, which an extra brings, what their errors say."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _version


def version(package: str) -> str:
    """The version of an installed distribution, or ``not installed``."""
    try:
        return _version(package)
    except PackageNotFoundError:
        return "not installed"


def need(extra: str, *packages: str) -> None:
    """Make sure that the packages of an extra can be imported.

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
    """The beginning of an error's message, for the middle of a sentence: one printable line."""
    line = "".join(c for c in " ".join(str(error).split()) if c.isprintable())
    return line[:longest].rstrip(" .:") or type(error).__name__
