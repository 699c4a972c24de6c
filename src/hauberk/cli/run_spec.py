"""A run, whole: what ``hauberk train`` and ``hauberk compress`` do, from data to folder.

A command line, a TOML file and Python make the same `RunSpec`:

    RunSpec.parse(["compress", "--data", "digits", "--model", "digits-cnn", "--threat", "linf:0.1"])
    RunSpec.from_toml(Path("run.toml").read_text())
    RunSpec(data=DataSource(source="digits"), start=Start(model="digits-cnn"), …)
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from hauberk.cli import resolve, run_file
from hauberk.cli.console import Bars, say
from hauberk.cli.flags import Flag, build, flag_name, flags_of, near
from hauberk.cli.parsing import CommandLine, Settings, explain, spelled, values
from hauberk.cli.resolve import NamedThreat
from hauberk.cli.settings import (
    DataSource,
    EvaluationSettings,
    Machines,
    Start,
    TrainingSettings,
)
from hauberk.evaluation import Evaluation
from hauberk.method import Method
from hauberk.nested import replaced
from hauberk.runtime import device, files
from hauberk.runtime.processes import Group
from hauberk.training.run import Run, Watcher

Verb: TypeAlias = Literal["train", "compress"]
DEFAULT_METHOD = "atmc"
_CHOOSES = {"size": "size-target", "robust-at-least": "robustness-target"}
"""Flags that choose their method when ``--method`` is not given."""
_ABOUT: dict[Verb, str] = {
    "train": """\
Train a dense, adversarially robust network and write it as a file.

hauberk train run.toml takes the flags from a file; flags that follow override it. Every run leaves
a run.toml next to its results, which reproduces it.""",
    "compress": """\
Make a network small while it stays robust, and evaluate the file that ships.

hauberk compress run.toml takes the flags from a file; flags that follow override it. Every run
leaves a run.toml next to its results, which reproduces it. --method NAME --help lists the flags of
another method.""",
}


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """All settings of one run, typed and validated.

    Attributes:
        verb: ``train`` makes a dense network, ``compress`` a small one.
        threat: what the adversary may do, in pixel units of [0, 1]: linf:8/255, l2:0.5, l1:12; or
            one of several, at its choice: linf:0.2+l2:2+l1:12.
        data: images and labels.
        start: the network to start from.
        method: how it is trained or compressed.
        evaluation: how the file that ships is attacked.
        training: how the training computes.
        machines: where it computes.
        seed: random seed of every shuffle and random start.
        out: folder for the file, checkpoints, logs, report and picture.
        resume: go on from the folder's checkpoint if there is one.
        json: print the report as one JSON object on stdout, and nothing else there.
    """

    verb: Verb = field(default="compress", metadata={"flag": None})
    data: DataSource
    threat: NamedThreat = field(metadata={"example": "linf:8/255"})
    start: Start
    method: Method = field(metadata={"flag": None})
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    machines: Machines = field(default_factory=Machines)
    seed: int = 0
    out: Path
    resume: bool = field(default=False, metadata={"saved": False})
    json: bool = field(default=False, metadata={"saved": False})

    def __post_init__(self) -> None:
        """Validate the settings."""
        if self.verb == "train" and not self.start.model:
            raise ValueError("train was given no --model; give one, such as --model digits-cnn.")
        if not self.start.checkpoint and not self.start.model:
            raise ValueError(
                "compress was given neither --from nor --model; give a file to start from, "
                "or the name of a network to train first, such as --model digits-cnn."
            )
        self.attacked()  # an attack that there is not is named before hours of training

    @classmethod
    def parse(cls, argv: Sequence[str]) -> RunSpec:
        """The run that a command line names.

        Args:
            argv: the verb, perhaps a TOML file, and flags.

        Raises:
            ValueError: an unknown flag, a value that does not fit, or one that is missing.
            OSError: a file of settings that cannot be read.
            SystemExit: ``--help`` was given; the help is printed.
        """
        verb: Verb = "train" if argv[0] == "train" else "compress"
        every = _every_flag(verb)
        line, path = CommandLine.split(verb, argv[1:], every).run_file()
        found: Settings = {} if path is None else run_file.read(path, verb)
        settings = {**found, **line.settings}
        if line.help:
            name = _method_name(verb, settings)
            explain(verb, _ABOUT[verb], _flags(verb) | method_flags(name), "[RUN.TOML]")
        line.refuse_unknown(every)
        line.placed(every)
        run_file.refuse_unknown(found, every)
        return cls._read(verb, settings)

    @classmethod
    def from_toml(cls, text: str, name: str = run_file.NAME) -> RunSpec:
        """The run that a TOML file names.

        Args:
            text: content of the file.
            name: of the file, for errors.

        Raises:
            ValueError: an unknown key, a value that does not fit, or one that is missing.
        """
        wanted, found = run_file.parse(text.encode(), name)
        verb: Verb = "train" if wanted == "train" else "compress"
        run_file.refuse_verb(wanted, verb, name)
        run_file.refuse_unknown(found, _every_flag(verb))
        return cls._read(verb, found)

    @classmethod
    def _read(cls, verb: Verb, settings: Settings) -> RunSpec:
        """The run of settings that have a known flag each."""
        name = _method_name(verb, settings)
        mine, theirs = _flags(verb), method_flags(name)
        _refuse_foreign(settings, mine | theirs, name)
        found = values(verb, settings, mine | theirs)
        method = build(resolve.method(name), found)
        return build(cls, {"out": mine["out"].default} | found, verb=verb, method=method)

    def with_(self, **changes: object) -> RunSpec:
        """The same run with some settings replaced, by the names that they have in a TOML file.

        Args:
            **changes: ``keep=0.02``, ``epochs=3``; text is read as on a command line.

        Raises:
            ValueError: an unknown name, or a value that does not fit.
        """
        known = self.flags()
        found: dict[str, object] = {}
        for key, value in changes.items():
            name = key.replace("_", "-")
            if name not in known:
                hint = near(key, (flag.key for flag in known.values()), "leave it out.")
                raise ValueError(f"A run has no setting {key}; {hint}")
            found[name] = known[name].read(value)
        method = replaced(self.method, found, flag_name)
        return replaced(replace(self, method=method), found, flag_name)

    def flags(self) -> dict[str, Flag]:
        """The flags that this run has, by name."""
        found = _flags(self.verb) | flags_of(type(self.method))
        found.pop("method", None)
        return found

    def _given(self) -> list[tuple[Flag, object]]:
        """Each flag with its value."""
        name = resolve.method_name(self.method)
        mine, theirs = _flags(self.verb), method_flags(name)
        chosen = mine.pop("method", None)
        return [
            *([(chosen, name)] if chosen else []),
            *((flag, flag.of(self)) for flag in mine.values()),
            *((flag, flag.of(self.method)) for flag in theirs.values()),
        ]

    def settings(self) -> dict[str, object]:
        """Every setting of the run as TOML and JSON have it, by key; empty ones are left out."""
        return {
            flag.key: run_file.plain(value)
            for flag, value in self._given()
            if flag.saved and value not in ("", None, ())
        }

    def to_toml(self) -> str:
        """The content of a TOML file that reproduces the run."""
        return run_file.write(self.verb, self.settings())

    def save(self) -> None:
        """Write the settings next to the results.

        Raises:
            OSError: the folder cannot be written.
        """
        files.write(self.out / run_file.NAME, self.to_toml().encode())

    @property
    def command(self) -> str:
        """The command line of the run; what has its default is left out."""
        given = [spelled(flag, v) for flag, v in self._given() if flag.saved and v != flag.default]
        return shlex.join(["hauberk", self.verb, *(word for words in given for word in words)])

    @property
    def identity(self) -> str:
        """A name for all that the run computes; a checkpoint of another run is refused."""
        return (
            f"{self.method} {self.start} {self.data.source} on_error={self.data.on_error} "
            f"image_size={self.data.image_size} {self.threat} seed={self.seed} "
            f"precision={self.training.precision}"
        )

    def attacked(self) -> Evaluation:
        """The evaluation of the file that ships."""
        return self.evaluation.evaluation(self.threat, self.seed)

    def run(self, group: Group, bar: Bars) -> Run:
        """Seed, device, precision and folder of the training.

        Args:
            group: the processes that train together.
            bar: shows the progress of the first of them.

        Raises:
            ValueError: the device is not available.
        """
        place = resolve.place(self.machines.device, group)
        bf16 = self.training.precision == "bf16-mixed"
        if bf16 and group.first and device.bf16_in_software(place):
            say(
                f"precision was given as {self.training.precision}, and bfloat16 is computed in "
                f"software on this {place.type}, slower than float32: without --precision it is "
                "faster."
            )
        return Run(
            seed=self.seed,
            resume=self.resume,
            device=place,
            bf16=bf16,
            compiled=self.training.compiled,
            tensorboard=self.training.tensorboard,
            identity=self.identity,
            watcher=bar if group.first else Watcher(),
            group=group,
        )


def method_flags(name: str) -> dict[str, Flag]:
    """The flags of a method, by name.

    Raises:
        ValueError: there is no such method.
    """
    return flags_of(resolve.method(name), f"method {name.lower()}")


def _flags(verb: Verb) -> dict[str, Flag]:
    """The flags of a run, its method's left out."""
    found = flags_of(RunSpec)
    found["out"] = replace(found["out"], default=Path("runs") / verb)
    if verb == "train":
        del found["from"]
        return found
    methods = ", ".join(resolve.methods())
    chosen = " and ".join(f"--{flag} chooses {name}" for flag, name in _CHOOSES.items())
    about = f"one of {methods}; {chosen}. Its own flags are listed below."
    return {"method": Flag("method", str, DEFAULT_METHOD, about), **found}


def _every_flag(verb: Verb) -> dict[str, Flag]:
    """The flags of a run with any method."""
    names = ["da"] if verb == "train" else list(resolve.methods())
    theirs = [method_flags(name) for name in names]
    return {name: flag for flags in (*theirs, _flags(verb)) for name, flag in flags.items()}


def _method_name(verb: Verb, settings: Settings) -> str:
    """The name of the method: given by ``--method``, or by a flag that only one method has."""
    chosen = [name for flag, name in _CHOOSES.items() if flag in settings]
    if len(chosen) > 1:
        raise ValueError(
            "--size and --robust-at-least were both given; one says how large the file is, the "
            "other finds it out: give one."
        )
    if verb == "train":
        return "da"
    named = [str(settings["method"].value)] if "method" in settings else []
    return (*named, *chosen, DEFAULT_METHOD)[0].lower()


def _refuse_foreign(settings: Settings, known: dict[str, Flag], method: str) -> None:
    """Raise a ValueError for a flag that only other methods have."""
    for name, setting in settings.items():
        if name not in known:
            having = [other for other in resolve.methods() if name in method_flags(other)]
            theirs = ", ".join(having)
            raise ValueError(
                f"{setting.source} is no flag of the method {method}; methods with it are {theirs}."
            )
