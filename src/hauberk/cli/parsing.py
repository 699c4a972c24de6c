"""A command line as settings by flag.

argparse splits the words. It knows no types: `hauberk.cli.flags` reads values, so that a file and a
command line are read in the same way.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, replace
from pathlib import Path
from typing import NoReturn, TypeVar

from hauberk.cli.flags import (
    Flag,
    Setting,
    Settings,
    Value,
    build,
    flags_of,
    near,
    spellings,
    wanted,
)
from hauberk.cli.help import explain, summary
from hauberk.cli.tasks import of_task, refuse_other_task, task_of

T = TypeVar("T")
_HELP = "help"


@dataclass(frozen=True)
class CommandLine:
    """The words after a verb, split.

    Attributes:
        verb: of the command.
        settings: by flag.
        unknown: flags that the verb does not have.
        loose: words that follow no flag.
        help: whether ``--help`` was given.
    """

    verb: str
    settings: Settings
    unknown: tuple[str, ...]
    loose: tuple[str, ...]
    help: bool

    @classmethod
    def split(cls, verb: str, words: Sequence[str], flags: Mapping[str, Flag]) -> CommandLine:
        """The words after a verb.

        Args:
            verb: of the command.
            words: what follows it.
            flags: those that the verb has.

        Raises:
            ValueError: a flag without its value, or a switch with one.
        """
        try:
            found, rest = _splitter(flags.values()).parse_known_args(_joined(words))
        except argparse.ArgumentError as error:
            _refuse_arity(verb, str(error.argument_name).partition("/")[0], flags)
        given: dict[str, Value] = vars(found)
        settings = {
            name: Setting(value, flags[name].spelled, see(verb))
            for name, value in given.items()
            if name != _HELP
        }
        unknown = tuple(word.partition("=")[0] for word in rest if word.startswith("-"))
        loose = tuple(word for word in rest if not word.startswith("-"))
        return cls(verb, settings, unknown, loose, _HELP in given)

    def run_file(self) -> tuple[CommandLine, Path | None]:
        """The line without the TOML file that it names, and that file."""
        if self.loose and self.loose[0].lower().endswith(".toml"):
            return replace(self, loose=self.loose[1:]), Path(self.loose[0])
        return self, None

    def placed(self, flags: Mapping[str, Flag]) -> CommandLine:
        """The line with its loose words as the values of positional flags.

        Raises:
            ValueError: a word is left over.
        """
        names = [flag.name for flag in flags.values() if flag.positional]
        by_place = {
            name: Setting(word, name, see(self.verb))
            for name, word in zip(names, self.loose, strict=False)
        }
        if self.loose[len(names) :]:
            raise ValueError(
                f"{self.verb} was given {self.loose[len(names)]!r}, which follows no flag; put a "
                f"flag's name before its value{see(self.verb)}"
            )
        return replace(self, settings={**self.settings, **by_place}, loose=())

    def refuse_unknown(self, flags: Iterable[str]) -> None:
        """Check that the verb has every flag that was given.

        Args:
            flags: the names of its flags.

        Raises:
            ValueError: it does not have one of them; the error names the nearest flag.
        """
        for name in self.unknown:
            hint = near(name, (f"--{flag}" for flag in flags), "leave it out.")
            raise ValueError(
                f"{self.verb} has no flag {name}; {hint} See hauberk {self.verb} --help."
            )


def parse(cls: type[T], verb: str, words: Sequence[str]) -> T:
    """The settings of a verb that reads no run file.

    Args:
        cls: the frozen dataclass of its flags.
        verb: of the command.
        words: what follows it.

    Raises:
        ValueError: a flag that the verb does not have, a value that does not fit, or none where
            one is needed.
        SystemExit: ``--help`` was given; the help is printed.
    """
    flags = flags_of(cls)
    line = CommandLine.split(verb, words, flags)
    if line.help:
        explain(verb, summary(cls), flags)
    line.refuse_unknown(flags)
    settings = line.placed(flags).settings
    if "task" in flags:
        task = task_of(settings)
        flags = of_task(flags, task)
        refuse_other_task(verb, settings, flags, task)
    return build(cls, values(verb, settings, flags))


def values(verb: str, settings: Settings, flags: Mapping[str, Flag]) -> dict[str, object]:
    """The given values, each of its flag's type.

    Args:
        verb: of the command.
        settings: by flag.
        flags: those that the verb has.

    Raises:
        ValueError: a value does not fit, or one that is needed is missing.
    """
    found = {name: setting.read(flags[name]) for name, setting in settings.items()}
    missing = [f for f in flags.values() if f.default is MISSING and found.get(f.name, "") == ""]
    if missing:
        refuse_missing(verb, missing)
    return found


def refuse_missing(verb: str, flags: Sequence[Flag]) -> NoReturn:
    """Raise the error for flags that are needed and were not given.

    Args:
        verb: of the command.
        flags: the missing ones, at least one.

    Raises:
        ValueError: always.
    """
    names = " and no ".join(flag.spelled for flag in flags)
    such = " ".join(_example(flag) for flag in flags)
    raise ValueError(f"{verb} was given no {names}; give {such}, for example{see(verb)}")


def see(verb: str) -> str:
    """The end of an error about flags."""
    return f"; see hauberk {verb} --help."


def _example(flag: Flag) -> str:
    return flag.example if flag.positional else f"--{flag.name} {flag.example}"


def _joined(words: Sequence[str]) -> list[str]:
    """``--memory -1GB`` as ``--memory=-1GB``: argparse takes a leading minus sign for a flag."""
    found: list[str] = []
    for word in words:
        flag = found[-1] if found else ""
        if re.match(r"-\.?\d", word) and flag.startswith("--") and "=" not in flag:
            found[-1] = f"{flag}={word}"
        else:
            found.append(word)
    return found


def _splitter(flags: Iterable[Flag]) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        add_help=False,
        allow_abbrev=False,
        exit_on_error=False,
        argument_default=argparse.SUPPRESS,
    )
    made.add_argument("-h", "--help", dest=_HELP, action="store_true")
    for flag in flags:
        on, off = spellings(flag)
        if flag.kind is bool:
            made.add_argument(on, dest=flag.name, action="store_true")
            made.add_argument(off, dest=flag.name, action="store_false")
        elif flag.commas:
            made.add_argument(on, dest=flag.name, nargs="*")
        elif flag.several:
            made.add_argument(on, dest=flag.name, nargs="*", action="extend")
        elif flag.alone:
            made.add_argument(on, dest=flag.name, nargs="?", const=flag.alone)
        elif not flag.positional:
            made.add_argument(on, dest=flag.name)
    return made


def spelled(flag: Flag, value: object) -> list[str]:
    """The words that give a flag this value."""
    on, off = spellings(flag)
    if isinstance(value, bool):
        return [on if value else off]
    if isinstance(value, tuple):
        return [on, *map(str, value)]
    return [f"{on}={value}"]


def _refuse_arity(verb: str, spelled: str, flags: Mapping[str, Flag]) -> NoReturn:
    """argparse refuses a flag for one reason only: a value that is missing, or one too many."""
    flag = flags.get(spelled.removeprefix("--"))
    if flag is None or flag.kind is bool:
        allowed = " or ".join(spellings(flag)) if flag else "the flag alone"
        raise ValueError(f"{spelled} takes no value; give {allowed}{see(verb)}")
    raise ValueError(f"{spelled} was given no value; give {wanted(flag.kind)}{see(verb)}")
