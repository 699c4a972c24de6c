"""The runs of a sweep: the product of methods, sizes, flags with several values, and seeds."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hauberk.cli import resolve
from hauberk.cli.flags import Flag, Value, flags_of, number, split
from hauberk.cli.run_spec import RunSpec
from hauberk.cli.sweep.sweep_spec import SweepSpec
from hauberk.ops.sizes import size_bytes

_SIZES = ("size", "keep")
_MAY_CHANGE = ("out", "device", "tensorboard")
"""Settings that may change while a sweep is resumed."""


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep.

    Attributes:
        name: of its folder and of its row.
        group: the same without the seed.
        method: by its name on the command line.
        varied: the other flags that tell it from the runs next to it, as they were given.
        spec: the run.
    """

    name: str
    group: str
    method: str
    varied: Mapping[str, str]
    spec: RunSpec

    @property
    def size(self) -> str:
        """The size that it is given, if its method takes one: ``2%`` or ``20kB``."""
        settings = self.spec.settings()
        return next((_percent(settings[name]) for name in _SIZES if name in settings), "")

    def settings(self) -> dict[str, object]:
        """All that tells its result from another's, as TOML and JSON write it."""
        found = self.spec.settings()
        return {key: value for key, value in found.items() if key not in _MAY_CHANGE}


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep, in their order.

    Attributes:
        spec: of the sweep.
        runs: of the sweep.
        notes: how unusual settings were read, one line each.
    """

    spec: SweepSpec
    runs: tuple[PlannedRun, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, spec: SweepSpec) -> Plan:
        """The runs of a sweep; each is validated, none is tried.

        Raises:
            ValueError: a value that a method refuses, or two runs of one name.
        """
        axes = {name: _Axes.of(name, spec) for name in spec.method_names}
        runs = tuple(run for name in axes for run in _runs(name, axes[name], spec))
        _refuse_twins([run.name for run in runs])
        return cls(spec, runs, tuple(_notes(spec)))


def _refuse_twins(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Two runs would be called {name}; give each value once.")


@dataclass(frozen=True)
class _Axes:
    """The settings that vary between the runs of a method.

    Attributes:
        several: flags of which each run takes one value.
        fixed: flags that all runs take as they are.
        sized: whether the sizes of the sweep are among ``several``.
    """

    several: dict[str, list[object]]
    fixed: dict[str, Value]
    sized: bool

    @classmethod
    def of(cls, method: str, spec: SweepSpec) -> _Axes:
        """A method's own settings before those for all; the sweep's sizes come first.

        Raises:
            ValueError: a size was given twice, or in bytes to a method that takes a fraction.
        """
        flags = flags_of(resolve.method(method))
        own = {k.partition(".")[2]: v for k, v in spec.given.items() if k.startswith(f"{method}.")}
        general = {k: v for k, v in spec.given.items() if k in flags}
        sized = _sized_by(flags) if spec.sizes else ""
        if sized in general:
            raise ValueError(
                f"--sizes and --{sized} were both given, and both are {method}'s --{sized}; give "
                f"one, or --{method}.{sized} for {method} alone."
            )
        sizes: dict[str, Value] = {sized: list(spec.sizes)} if sized else {}
        every = {**sizes, **general, **own}
        if "keep" in every:
            _refuse_bytes(method, split(every["keep"]))
        several = {k: _distinct(v) for k, v in every.items() if _scalar(flags[k])}
        fixed = {k: v for k, v in every.items() if not _scalar(flags[k])}
        return cls(several, fixed, bool(sized))

    def named(self) -> list[str]:
        """The flags whose values stand in the names of runs."""
        return [k for k, v in self.several.items() if len(v) > 1 or (self.sized and k in _SIZES)]

    def varied(self) -> list[str]:
        """The flags, other than sizes, whose values tell runs apart."""
        return [k for k, v in self.several.items() if len(v) > 1 and k not in _SIZES]


def _scalar(flag: Flag) -> bool:
    return flag.kind is not bool and not flag.several


def _distinct(value: Value) -> list[object]:
    return list(dict.fromkeys(split(value)))


def _sized_by(flags: Mapping[str, Flag]) -> str:
    """The flag of a method that the sizes of a sweep set; empty if it has none."""
    return next((name for name in _SIZES if name in flags), "")


def _refuse_bytes(method: str, values: Sequence[object]) -> None:
    """Refuse bytes where a fraction of the weights is meant."""
    for value in values:
        if re.search(r"[a-zA-Z]$", str(value)) and _is_size(str(value)):
            raise ValueError(
                f"The size {value} is one of a file, which only size-target can promise; {method} "
                "has --keep, a fraction of the weights: give a fraction such as 2%, or "
                f"--{method}.keep."
            )


def _is_size(text: str) -> bool:
    try:
        return size_bytes(text, 1 << 30) > 0
    except ValueError:
        return False


def _runs(method: str, axes: _Axes, spec: SweepSpec) -> Iterator[PlannedRun]:
    """The runs of one method."""
    base = _base(method, spec)
    for values in itertools.product(*axes.several.values()):
        chosen = dict(zip(axes.several, values, strict=True))
        folder = re.sub(r"[^\w.%+-]", "_", method)
        group = "-".join([folder, *(_part(name, chosen[name]) for name in axes.named())])
        varied = {flag: str(chosen[flag]) for flag in axes.varied()}
        for seed in dict.fromkeys(spec.seeds):
            name = f"{group}-seed{seed}"
            settings: dict[str, object] = {**axes.fixed, **chosen}
            changes = {flag.replace("-", "_"): value for flag, value in settings.items()}
            run = base.with_(**changes, seed=seed, out=spec.out / name)
            yield PlannedRun(name, group, method, varied, run)


def _base(method: str, spec: SweepSpec) -> RunSpec:
    """The settings common to the runs of a method; they resume: the sweep clears old runs."""
    return RunSpec(
        data=spec.data,
        threat=spec.threat,
        start=spec.start,
        method=resolve.method(method)(),
        evaluation=spec.evaluation,
        training=spec.training,
        machines=spec.machines,
        out=spec.out,
        resume=True,
    )


def _part(flag: str, value: object) -> str:
    """Part of a name: ``2%`` for a size, ``bits3`` for another flag; fit for a folder."""
    text = _percent(value) if flag in _SIZES else f"{flag}{value}"
    return re.sub(r"[^\w.%+-]", "_", text)


def _percent(value: object) -> str:
    """``2%`` for 0.02; bytes stay as they are."""
    try:
        return f"{100 * number(str(value)):g}%"
    except ValueError:
        return str(value)


def _notes(spec: SweepSpec) -> Iterator[str]:
    """One line for each method that the sizes of the sweep do not reach."""
    for method in spec.method_names if spec.sizes else ():
        if not _sized_by(flags_of(resolve.method(method))):
            yield (
                f"{method} has neither --size nor --keep: --sizes does not apply to it, and it "
                "makes one run for each seed (and for each value of its own flags)."
            )
