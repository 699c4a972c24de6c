"""The help of a verb: an example, the flags that a newcomer needs first, then the others in groups.

argparse lays it out, at the width of the terminal.
"""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Literal, NoReturn, get_args, get_origin

from hauberk.cli.flags import Flag, docstring, spellings

_PLACEHOLDERS: dict[object, str] = {int: "N", float: "X", Path: "PATH"}
_FIRST, _REST = "needed first", "other"
_NEEDED_FIRST = (
    *("file", "data", "model", "from", "threat", "methods", "sizes", "size", "robust-at-least"),
    "out",
)
_TITLES = {
    "packaging": "the file",
    "evaluation": "threat and attack",
    "training attack": "threat and attack",
    "data source": "data",
    "optimisation": "training",
    "training loss": "training",
    "augmentation": "training",
    "threat weighting": "several threats",
    "machines": "several machines",
    "image": "networks from images to images",
}
"""Heading of the flags of a group of settings, where it is not the group's name."""
_ORDER = (
    *("the file", "threat and attack", "data", "training", "distillation", "several threats"),
    *("networks from images to images", "several machines", _REST),
)
_EXAMPLES = {
    "demo": ("--out runs/demo",),
    "train": ("--data digits --model digits-cnn --threat linf:0.1", "--out runs/dense"),
    "compress": (
        "--data digits --from runs/dense/model.hbk",
        "--threat linf:0.1 --size 1% --out runs/small",
    ),
    "compress --task image": (
        "--data photographs --image-size 128",
        "--model mynets:generator --from generator.pt --out runs/slim",
    ),
    "sweep": (
        "--data digits --from runs/dense/model.hbk --threat linf:0.1",
        "--methods size-target,ap --sizes 2%,1% --out runs/sweep",
    ),
    "evaluate": (
        "runs/small/model.hbk --data digits --threat linf:0.1",
        "--attack autoattack",
    ),
    "inspect": ("runs/small/model.hbk --picture layers.png",),
    "export": ("runs/small/model.hbk --format onnx",),
    "data": ("digits --picture digits.png",),
}
"""Words after each verb, in lines."""


def example(verb: str) -> str:
    """A command with the verb; empty for a verb that is not hauberk's."""
    lines = _EXAMPLES.get(verb, ())
    return f"hauberk {verb} " + " \\\n      ".join(lines) if lines else ""


def explain(
    verb: str, about: str, flags: Mapping[str, Flag], places: str = "", case: str = ""
) -> NoReturn:
    """Print the help of a verb and exit.

    Args:
        verb: of the command.
        about: what it does, in paragraphs.
        flags: those of the verb.
        places: what may stand before the flags.
        case: flags that the example must have, ``--task image``.

    Raises:
        SystemExit: always, with code 0.
    """
    names = " ".join([f.name.upper() for f in flags.values() if f.positional] + places.split())
    shown = argparse.ArgumentParser(
        prog=f"hauberk {verb}",
        usage=" ".join(f"hauberk {verb} {names} [flags]".split()),
        description=_wrapped(about, example(f"{verb} {case}".strip())),
        add_help=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for title, group in _grouped(flags.values()).items():
        into = shown.add_argument_group(title)
        for flag in group:
            _describe(into, flag)
    print(shown.format_help(), end="")
    raise SystemExit(0)


def summary(cls: type[object]) -> str:
    """The docstring of a class down to its attributes."""
    return docstring(cls).partition("Attributes:\n")[0].strip()


def _wrapped(about: str, shown: str) -> str:
    """The paragraphs at the terminal's width, then the example as it is."""
    width = max(40, shutil.get_terminal_size().columns - 2)
    found = [textwrap.fill(" ".join(text.split()), width) for text in about.split("\n\n")]
    return "\n\n".join([*found, *([f"  {shown}"] if shown else [])])


def _grouped(flags: Iterable[Flag]) -> dict[str, list[Flag]]:
    """The flags by heading, in the order in which the headings are read."""
    found: dict[str, list[Flag]] = {title: [] for title in (_FIRST, *_ORDER)}
    for flag in flags:
        found.setdefault(_heading(flag), []).append(flag)
    places = {name: place for place, name in enumerate(_NEEDED_FIRST)}
    found[_FIRST].sort(key=lambda flag: places.get(flag.name, -1))
    method = [title for title in found if title not in (_FIRST, *_ORDER)]
    return {title: found[title] for title in (_FIRST, *method, *_ORDER) if found[title]}


def _heading(flag: Flag) -> str:
    if flag.positional or flag.name in _NEEDED_FIRST:
        return _FIRST
    return _TITLES.get(flag.group, flag.group or _REST)


def _describe(into: argparse._ArgumentGroup, flag: Flag) -> None:
    text = f"{flag.help} {_default(flag)}".strip().replace("%", "%%")
    if flag.positional:
        into.add_argument(flag.name, metavar=flag.name.upper(), help=text)
    elif flag.kind is bool:
        into.add_argument(*spellings(flag), action="store_true", help=text)
    else:
        into.add_argument(
            f"--{flag.name}",
            metavar=_placeholder(flag.kind),
            nargs="*" if flag.several else "?" if flag.alone else None,
            help=text,
        )


def _default(flag: Flag) -> str:
    if flag.default is MISSING:
        return "(required)"
    if flag.default in ("", None, ()):
        return ""
    shown = flag.default
    if isinstance(shown, tuple):
        shown = ",".join(map(str, shown))
    if isinstance(shown, bool):
        shown = "on" if shown else "off"
    return f"(default: {shown})"


def _placeholder(kind: object) -> str:
    if get_origin(kind) is Literal:
        return f"{{{','.join(get_args(kind))}}}"
    if get_origin(kind) is tuple:
        kind = get_args(kind)[0]
    return _PLACEHOLDERS.get(kind, "TEXT")
