"""Which runs a sweep has: the product of methods, sizes, flags with several values, and seeds.

A run is the words of a ``hauberk compress``, so that it is what that command does.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hauberk.cli import resolve, run_file
from hauberk.cli.flags import Compress, Sweep
from hauberk.cli.parsing import number, parse, with_method
from hauberk.ops.sizes import size_bytes

Words = Mapping[str, Sequence[str]]
"""Flags, without their dashes, with the words that follow each."""
_MINE = {field.name.rstrip("_") for field in dataclasses.fields(Sweep)} - {"seed"}
_LISTS = ("methods", "sizes", "seeds")
_EACH = {field.name.rstrip("_") for field in dataclasses.fields(Compress)} & _MINE
"""Flags of the sweep that are flags of each run."""
_SIZES = ("size", "keep")
_NO_MATTER = ("out", "device", "tensorboard")
"""Settings that may change while a sweep is resumed."""


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Attributes:
        name: of its folder and of its row.
        group: the same without the seed.
        method: as the user writes it.
        seed: of every shuffle and random start.
        varied: the other flags that tell it from the runs beside it.
        words: what follows ``hauberk compress``.
    """

    name: str
    group: str
    method: str
    seed: int
    varied: Mapping[str, str]
    words: tuple[str, ...]

    @cached_property
    def flags(self) -> Any:
        """The words as flags."""
        return run_flags(self.method, self.words)

    @property
    def size(self) -> str:
        """What it was given as its size, if its method takes one."""
        held = [getattr(self.flags.settings, name, None) for name in _SIZES]
        return next((_share(str(value)) for value in held if value is not None), "")

    def settings(self) -> dict[str, Any]:
        """All that tells its result from another's, as TOML and JSON write it."""
        found = run_file.resolved(self.flags)
        kept = {key: value for key, value in found.items() if key not in _NO_MATTER}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in kept.items()}


def run_flags(method: str, words: Sequence[str]) -> Any:
    """The flags of one run, which resumes: what is old was cleared by the sweep."""
    both = with_method(Compress, resolve.method(method))
    return parse(both, "compress", [*words, "--resume"])


@dataclass(frozen=True)
class Grid:
    """The runs of a sweep, in their order.

    Attributes:
        flags: of the sweep itself.
        cells: its runs.
        notes: what a person should know of how the words were read, one sentence each.
        text: the same words as a TOML file, which `Grid.read` reads.
    """

    flags: Sweep
    cells: tuple[Cell, ...]
    notes: tuple[str, ...]
    text: str

    @classmethod
    def read(cls, words: Sequence[str]) -> Grid:
        """The words after ``hauberk sweep``; every run's flags are read, none is tried.

        Raises:
            ValueError: a flag that no method has, or a value that is none for its flag.
            OSError: a file of settings that cannot be read.
        """
        if {"-h", "--help"} & set(words):
            parse(Sweep, "sweep", ["--help"])
        path, rest = run_file.split(words)
        found = {} if path is None else run_file.read(path, "sweep", tables=True)
        first = [w for key, value in found.items() for w in run_file.flag_words(key, value)]
        given, loose = _gathered([*first, *rest])
        flags = _own(given, loose)
        methods = tuple(dict.fromkeys(name.lower() for name in flags.methods))
        free = {name: values for name, values in given.items() if _bare(name) not in _MINE}
        _known(free, methods)
        axes = {name: _axes(name, flags, free) for name in methods}
        every = {name: list(given[name]) for name in given if _bare(name) in _EACH}
        cells = tuple(c for name in methods for c in _cells(name, axes[name], flags, every))
        _check(cells)
        return cls(flags, cells, tuple(_notes(flags, axes)), _text(flags, free))


def _check(cells: Sequence[Cell]) -> None:
    """Refuse what can be refused before anything is trained."""
    names = [cell.name for cell in cells]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Two runs would be called {name}; give each value once.")
    for cell in cells:
        resolve.proof(cell.flags, resolve.threat(cell.flags.threat))


def _gathered(words: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Each flag with what follows it, the last of a kind; and what stands before any flag."""
    given: dict[str, list[str]] = {}
    loose: list[str] = []
    into = loose
    for word in words:
        if not word.startswith("--"):
            into.append(word)
            continue
        flag, equals, value = word.removeprefix("--").partition("=")
        into = given[flag.replace("-", "_")] = [value] if equals else []
    return given, loose


def _own(given: Words, loose: list[str]) -> Sweep:
    """The flags of the sweep itself."""
    mine = {name: list(values) for name, values in given.items() if _bare(name) in _MINE}
    for name in set(mine) & set(_LISTS):
        mine[name] = _split(mine[name])
    if mine.get("ray") == []:
        mine["ray"] = ["local"]
    flags: Sweep = parse(Sweep, "sweep", [*loose, *_joined(mine)])
    if not flags.methods or not flags.seeds:
        raise ValueError("sweep was given no methods or no seeds; give one of each, or more.")
    if flags.threads < 0:
        raise ValueError(f"--threads was given as {flags.threads}; give a count of 1 or more.")
    if not flags.from_ and not flags.model:
        raise ValueError(
            "sweep was given neither --from nor --model; give a file that all runs start from, "
            "or the name of a network that each trains first, such as --model digits-cnn."
        )
    return flags


def _split(values: Sequence[str]) -> list[str]:
    return [number(part) for value in values for part in value.split(",") if part]


def _joined(given: Words) -> list[str]:
    """Flags as the words that they were; one value stands behind =, as it may begin with a dash."""
    return [word for name, values in given.items() for word in _words(name, values)]


def _words(name: str, values: Sequence[str]) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    return [f"{flag}={values[0]}"] if len(values) == 1 else [flag, *values]


def _bare(name: str) -> str:
    """``half`` for ``no_half``."""
    return name.removeprefix("no_")


def _fields(method: str) -> dict[str, Any]:
    """The flags of a method, with their defaults."""
    return {field.name: field.default for field in dataclasses.fields(resolve.method(method))}


def _known(free: Words, methods: Sequence[str]) -> None:
    """Refuse a flag that no method has."""
    theirs = {name: set(_fields(name)) for name in methods}
    some = set().union(*theirs.values())
    for name in free:
        method, dot, flag = name.rpartition(".")
        if dot and method not in theirs:
            raise ValueError(
                f"--{name} is for the method {method!r}, which the sweep does not have; give one "
                f"of {', '.join(methods)}, or add it to --methods."
            )
        if _bare(flag) not in (theirs[method] if dot else some):
            who = f"{method} does not have" if dot else "none of the methods has"
            hint = _hint(flag, theirs[method] if dot else some | _MINE)
            raise ValueError(f"The flag --{flag.replace('_', '-')} is one that {who}; {hint}")


def _hint(flag: str, known: set[str]) -> str:
    """Who else has a flag, or what it is called."""
    near = difflib.get_close_matches(flag, known, n=1, cutoff=0.5)
    others = [name for name in resolve.methods() if _bare(flag) in _fields(name)]
    if others:
        return f"methods with it are {', '.join(others)}."
    return f"did you mean --{near[0].replace('_', '-')}?" if near else "leave it out."


@dataclass(frozen=True)
class _Axes:
    """What the runs of a method are given: flags with one value or more, and others as they are."""

    several: dict[str, list[str]]
    fixed: dict[str, list[str]]
    sized: bool


def _axes(method: str, flags: Sweep, free: Words) -> _Axes:
    """A method's own flags before those for all; what is said of sizes stands between them."""
    fields = _fields(method)
    own = {k.partition(".")[2]: v for k, v in free.items() if k.startswith(f"{method}.")}
    taken = next((name for name in _SIZES if name in fields), "") if flags.sizes else ""
    general = {k: v for k, v in free.items() if "." not in k and _bare(k) in fields}
    if taken in general:
        raise ValueError(
            f"--sizes and --{taken} were both given, and both are {method}'s --{taken}; give one, "
            f"or --{method}.{taken} for {method} alone."
        )
    sizes = {taken: list(flags.sizes)} if taken else {}
    every = {**sizes, **general, **own}
    if "keep" in every:
        _shares(method, every["keep"])
    scalar = {k for k in every if not isinstance(fields[_bare(k)], bool | tuple)}
    several = {k: list(dict.fromkeys(_split(every[k]))) for k in every if k in scalar}
    fixed = {k: list(every[k]) for k in every if k not in scalar}
    return _Axes(several, fixed, bool(taken))


def _shares(method: str, values: Sequence[str]) -> None:
    """Refuse bytes where a share of the weights is meant."""
    for value in _split(values):
        if re.search(r"[a-zA-Z]$", value) and _is_size(value):
            raise ValueError(
                f"The size {value} is one of a file, which only sized can promise; {method} has "
                f"--keep, a share of the weights: give a share such as 2%, or --{method}.keep."
            )


def _is_size(text: str) -> bool:
    try:
        return size_bytes(text, 1 << 30) > 0
    except ValueError:
        return False


def _cells(method: str, axes: _Axes, flags: Sweep, every: dict[str, list[str]]) -> Iterator[Cell]:
    """The runs of one method."""
    several = [name for name, values in axes.several.items() if len(values) > 1]
    named = [n for n in axes.several if n in several or (axes.sized and n in _SIZES)]
    for values in itertools.product(*axes.several.values()):
        chosen = dict(zip(axes.several, values, strict=True))
        group = "-".join([method, *(_part(name, chosen[name]) for name in named)])
        for seed in dict.fromkeys(flags.seeds):
            name = f"{group}-seed{seed}"
            run = every | axes.fixed | {flag: [value] for flag, value in chosen.items()}
            run |= {"method": [method], "seed": [str(seed)], "out": [str(flags.out / name)]}
            words = _joined({k: v for k, v in run.items() if k not in ("json", "resume")})
            varied = {flag: chosen[flag] for flag in several if flag not in _SIZES}
            yield Cell(name, group, method, seed, varied, tuple(words))


def _part(flag: str, value: str) -> str:
    """Of a name: ``2%`` for sizes, ``bits3`` for other flags; no sign that a folder cannot have."""
    text = _share(value) if flag in _SIZES else f"{flag.replace('_', '-')}{value}"
    return re.sub(r"[^\w.%+-]", "_", text)


def _share(value: str) -> str:
    """``2%`` for 0.02; bytes stay as they are."""
    try:
        return f"{100 * float(value):g}%"
    except ValueError:
        return value


def _notes(flags: Sweep, axes: Mapping[str, _Axes]) -> Iterator[str]:
    """Who takes no part in sizes."""
    if not flags.sizes:
        return
    for method in axes:
        if not set(_SIZES) & set(_fields(method)):
            yield (
                f"{method} has neither --size nor --keep: --sizes says nothing to it, and it is "
                "run once for each seed (and for each value of its own flags)."
            )


def _text(flags: Sweep, free: Words) -> str:
    """The sweep's own flags, complete, and those of the methods that were given."""
    own = {
        field.name.rstrip("_"): getattr(flags, field.name)
        for field in dataclasses.fields(flags)
        if field.name not in ("json", "resume", "seed") and getattr(flags, field.name) != ""
    }
    theirs: dict[str, Any] = {}
    for name, values in free.items():
        method, dot, flag = name.rpartition(".")
        switch = {f"{method}{dot}{_bare(flag)}": not flag.startswith("no_")}
        theirs |= {name: list(values)} if values else switch
    return run_file.as_toml("sweep", {k: v for k, v in (own | theirs).items() if v != ()})
