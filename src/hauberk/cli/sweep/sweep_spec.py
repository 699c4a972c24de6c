"""All settings of a sweep: its own, those of every run, and those that vary between runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hauberk.cli import resolve, run_file
from hauberk.cli.flags import Flag, Settings, Value, build, flags_of, near, split
from hauberk.cli.help import explain, summary
from hauberk.cli.parsing import CommandLine, values
from hauberk.cli.resolve import NamedThreat
from hauberk.cli.settings import (
    DataSource,
    EvaluationSettings,
    Machines,
    Start,
    TrainingSettings,
)
from hauberk.runtime.packages import is_place

VERB = "sweep"


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """Compress in many ways, methods × sizes × seeds, and put every run into one table.

    Every flag of the methods may be given, too (hauberk compress --method NAME --help lists them):
    it reaches the methods that have it. --atmc.keep 8% is for atmc alone. Several values, separated
    by commas, make a run for each combination: --bits 3,4. A file does the same: hauberk sweep
    run.toml, where [atmc] begins the settings of atmc.

    Each run is a folder in --out, as compress leaves it. A run that fails stays in the table with
    its error, and the others go on; the exit code is 0 if any run succeeded, else 2. With --resume,
    runs whose row is in the table are not repeated (delete a run's folder to repeat it), and the
    run that was under way continues from its checkpoint.

    Attributes:
        methods: atmc, size-target, robustness-target, admm-pruning, reweighted, al0, alr, ap, nap,
            int8 or da, separated by commas.
        sizes: --size for size-target; for methods with --keep, the fraction of the weights that is
            kept, which is not yet a size: the table shows the bytes of each file. Methods with
            neither (alr, int8, da) make one run whatever the sizes.
        seeds: random seeds of every shuffle and random start; one run for each.
        data: images and labels.
        threat: what the adversary may do, in pixel units of [0, 1]: linf:8/255, l2:0.5, l1:12; or
            one of several, at its choice: linf:0.2+l2:2+l1:12.
        start: the network to start from.
        evaluation: how the files that ship are attacked.
        training: how the trainings compute.
        machines: where they compute.
        out: folder for sweep.csv, sweep.json, tradeoff.png, and a folder for each run.
        resume: go on where the sweep in the folder stopped; without it, all runs start anew.
        ray: run on Ray, as many runs at a time as it has room for: --ray alone starts a cluster on
            this machine, --ray auto or --ray HOST:PORT joins one whose machines mount these
            folders.
        threads: torch threads of a run, and processors that it takes on Ray; by default torch's own
            choice here, 1 on Ray.
        json: print the table as one JSON object on stdout, and nothing else there.
        given: settings of the methods by flag, as they were given.
    """

    methods: tuple[str, ...] = field(metadata={"commas": True, "example": "size-target,ap"})
    sizes: tuple[str, ...] = field(default=(), metadata={"commas": True})
    seeds: tuple[int, ...] = field(default=(0,), metadata={"commas": True})
    data: DataSource
    threat: NamedThreat = field(metadata={"example": "linf:8/255"})
    start: Start
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    machines: Machines = field(default_factory=Machines)
    out: Path = Path("runs/sweep")
    resume: bool = field(default=False, metadata={"saved": False})
    ray: str = field(default="", metadata={"alone": "local"})
    threads: int = 0
    json: bool = field(default=False, metadata={"saved": False})
    given: Mapping[str, Value] = field(default_factory=dict, metadata={"flag": None})

    def __post_init__(self) -> None:
        """Validate the settings."""
        if not self.methods or not self.seeds:
            raise ValueError("sweep was given no methods or no seeds; give one of each, or more.")
        if self.threads < 0:
            raise ValueError(f"--threads was given as {self.threads}; give a count of 1 or more.")
        if not self.start.checkpoint and not self.start.model:
            raise ValueError(
                "sweep was given neither --from nor --model; give a file that all runs start from, "
                "or the name of a network that each trains first, such as --model digits-cnn."
            )

    @classmethod
    def parse(cls, words: Sequence[str]) -> SweepSpec:
        """The sweep that a command line names.

        Args:
            words: after ``hauberk sweep``: perhaps a TOML file, and flags.

        Raises:
            ValueError: a flag that no method has, or a value that does not fit.
            OSError: a file of settings that cannot be read.
            SystemExit: ``--help`` was given; the help is printed.
        """
        own = flags_of(cls)
        if {"-h", "--help"} & set(words):
            explain(VERB, summary(cls), own, "[RUN.TOML]")
        places: tuple[str, ...] = ()
        for _ in range(2):  # again, if words or file name methods of the user's own
            line, path = CommandLine.split(VERB, words, own | _method_flags(places)).run_file()
            found: Settings = {} if path is None else run_file.read(path, VERB, tables=True)
            settings = {**found, **line.settings}
            if not (places := _places(settings)):
                break
        mine = {name: setting for name, setting in settings.items() if name in own}
        given = {name: setting.value for name, setting in settings.items() if name not in own}
        unknown = [name.removeprefix("--") for name in line.unknown]
        spec = build(cls, values(VERB, mine, own), given=given)
        _refuse_unknown([*given, *unknown], spec.method_names, own)
        line.placed(own)
        return spec

    @property
    def method_names(self) -> list[str]:
        """The methods, each once."""
        return list(dict.fromkeys(map(resolve.canonical, self.methods)))

    def to_toml(self) -> str:
        """The content of a TOML file that makes the same sweep."""
        found: dict[str, object] = {
            flag.key: run_file.plain(flag.of(self))
            for flag in flags_of(type(self)).values()
            if flag.saved and flag.of(self) not in ("", None, ())
        }
        tables: dict[str, dict[str, Value]] = {}
        for name, value in self.given.items():
            _, dot, flag = name.replace("-", "_").rpartition(".")
            if dot:
                tables.setdefault(name.partition(".")[0], {})[flag] = value
            else:
                found[flag] = value
        return run_file.write(VERB, found | tables)


def _places(settings: Settings) -> tuple[str, ...]:
    """The methods of the user's own, ``module:Name``."""
    if "methods" not in settings:
        return ()
    return tuple(name for name in map(str, split(settings["methods"].value)) if is_place(name))


def _method_flags(places: Iterable[str]) -> dict[str, Flag]:
    """The flags of every method: ``keep`` for all that have it, ``atmc.keep`` for one."""
    every: dict[str, Flag] = {}
    own = {place: resolve.method(place) for place in places}
    for method, cls in {**resolve.methods(), **own}.items():
        for name, flag in flags_of(cls).items():
            several = replace(flag, commas=flag.kind is not bool)
            every[name] = replace(several, name=name)
            every[f"{method}.{name}"] = replace(several, name=f"{method}.{name}")
    return every


def _refuse_unknown(names: Iterable[str], methods: Sequence[str], own: Mapping[str, Flag]) -> None:
    """Raise a ValueError for a flag that no method of the sweep has."""
    theirs = {name: set(flags_of(resolve.method(name))) for name in methods}
    some = set().union(*theirs.values())
    for name in names:
        method, dot, flag = name.rpartition(".")
        if dot and method not in theirs:
            raise ValueError(
                f"--{name} is for the method {method!r}, which the sweep does not have; give one "
                f"of {', '.join(methods)}, or add it to --methods."
            )
        if flag not in (theirs[method] if dot else some):
            who = f"{method} does not have" if dot else "none of the methods has"
            hint = _hint(flag, theirs[method] if dot else some | set(own))
            raise ValueError(f"The flag --{name} is one that {who}; {hint}")


def _hint(flag: str, known: Iterable[str]) -> str:
    """The methods that have a flag, or the nearest flag that exists."""
    others = [name for name, cls in resolve.methods().items() if flag in flags_of(cls)]
    if others:
        return f"methods with it are {', '.join(others)}."
    return near(f"--{flag}", (f"--{name}" for name in known), "leave it out.")
