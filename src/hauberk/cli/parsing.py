"""Words of a command line become the flags of a verb."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import re
from collections.abc import Sequence
from typing import Any

import tyro

from hauberk.method import Method


def parse(cls: type[Any], verb: str, words: Sequence[str]) -> Any:
    """tyro's reading of the words; its complaint as one sentence."""
    heard = io.StringIO()
    try:
        with contextlib.redirect_stderr(heard):
            return tyro.cli(
                cls, prog=f"hauberk {verb}", args=list(words), config=(tyro.conf.OmitArgPrefixes,)
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        said = _unboxed(heard.getvalue())
        raise ValueError(f"{_brief(said, verb)}; see hauberk {verb} --help.") from None


_UNREAD = re.compile(
    r"Error parsing (--[\w.-]+): (?:could not convert string to |invalid literal for )(float|int)"
    r".*?: (['\"])(.*)\3$"
)
"""Python's own words for what is no number."""


_POSITIONAL = {"PATH": "file", "STR": "data"}


_SUCH = {
    "file": "model.hbk",
    "data": "digits",
    "--data": "--data digits",
    "--threat": "--threat linf:8/255",
    "--methods": "--methods sized,ap",
}
"""What verbs must be given, as it may be given."""


_NUMBERS = {"int": "a whole number", "float": "a number, such as 0.9, or 90% of a whole"}


def _brief(said: str, verb: str) -> str:
    """What is missing by its name alone, without its help; what is no number as what it is."""
    unread = _UNREAD.match(said)
    if unread:
        flag, kind, _, word = unread.groups()
        return f"{flag} was given as {word}; give {_NUMBERS[kind]}"
    missing = re.findall(r"(?:[:)] )(PATH|STR|--[\w-]+) ", said)
    names = [_POSITIONAL.get(name, name) for name in missing]
    if not (names and said.startswith("Missing")):
        return said
    such = " ".join(_SUCH.get(name, name) for name in names)
    return f"{verb} was given no {' and no '.join(names)}; give {such}, for example"


def _unboxed(text: str) -> str:
    """The first paragraph of a framed message, below its title."""
    lines = [line.strip("│|╰╯ ") for line in text.splitlines()[1:]]
    paragraphs = itertools.groupby(lines, lambda line: set(line) <= set("─-"))
    first = next((" ".join(part) for rule, part in paragraphs if not rule), "Unreadable flags")
    return first.removeprefix("Error parsing settings: ").rstrip(".")


def with_method(flags: type[Any], method: type[Method]) -> type[Any]:
    """The verb's flags and the method's, as one class."""
    both = dataclasses.make_dataclass(
        flags.__name__,
        [("settings", method, dataclasses.field(default_factory=method))],
        bases=(flags,),
        frozen=True,
        kw_only=True,
    )
    both.__doc__ = flags.__doc__
    return both


def peek(words: Sequence[str], flag: str, default: str) -> str:
    """The value of ``--flag`` before the flags are known."""
    for word, following in itertools.pairwise([*words, ""]):
        if word == f"--{flag}":
            return following
        if word.startswith(f"--{flag}="):
            return word.partition("=")[2]
    return default


def number(word: str) -> str:
    """``1%`` as ``0.01``, wherever it stands: sizes and ratios may be written either way."""
    flag, equals, value = word.rpartition("=")
    share = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)%", value)
    return f"{flag}{equals}{float(share[1]) / 100!r}" if share else word
