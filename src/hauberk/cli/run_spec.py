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
from typing import Literal

from hauberk.cli import resolve, run_file
from hauberk.cli.console import Bars, say
from hauberk.cli.flags import Flag, Settings, build, flag_name, flags_of, near
from hauberk.cli.help import explain
from hauberk.cli.parsing import CommandLine, refuse_missing, spelled, values
from hauberk.cli.resolve import NamedThreat
from hauberk.cli.run_flags import (
    Verb,
    every_flag,
    method_flags,
    method_name,
    own_flags,
    refuse_foreign,
    selected,
    shown_flags,
)
from hauberk.cli.settings import (
    DataSource,
    EvaluationSettings,
    ImageSettings,
    Machines,
    Start,
    TrainingSettings,
)
from hauberk.cli.tasks import IMAGE, refuse_other_task, task_of
from hauberk.evaluation import Evaluation, ImageEvaluation
from hauberk.method import Method
from hauberk.nested import replaced
from hauberk.runtime import device, files
from hauberk.runtime.packages import is_place
from hauberk.runtime.processes import Group
from hauberk.runtime.source_code import digest_of_place
from hauberk.training.run import Run, Watcher
from hauberk.verbs.run_inputs import CODE
from hauberk.verbs.train import refuse_size

_ABOUT: dict[Verb, str] = {
    "train": """\
Train a dense, adversarially robust network, or with --method boost a sum of several, and write it
as a file.

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
        task: classes for a classifier; image for a network from images to images, with --from.
        threat: what the adversary may do, in pixel units of [0, 1]: linf:8/255, l2:0.5, l1:12; or
            one of several, at its choice: linf:0.2+l2:2+l1:12.
        data: images and labels.
        start: the network to start from.
        method: how it is trained or compressed.
        evaluation: how the file that ships is attacked.
        images: what is measured of a network from images to images.
        training: how the training computes.
        machines: where it computes.
        seed: random seed of every shuffle and random start.
        out: folder for the file, checkpoints, logs, report and picture.
        resume: go on from the folder's checkpoint if there is one.
        json: print the report as one JSON object on stdout, and nothing else there.
    """

    verb: Verb = field(default="compress", metadata={"flag": None})
    task: Literal["classes", "image"] = "classes"
    data: DataSource
    threat: NamedThreat | None = field(default=None, metadata={"example": "linf:8/255"})
    start: Start
    method: Method = field(metadata={"flag": None})
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    images: ImageSettings = field(default_factory=ImageSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    machines: Machines = field(default_factory=Machines)
    seed: int = 0
    out: Path
    resume: bool = field(default=False, metadata={"saved": False})
    json: bool = field(default=False, metadata={"saved": False})

    def __post_init__(self) -> None:
        """Validate the settings."""
        if self.verb == "train" and not (self.start.model or self.start.checkpoint):
            raise ValueError(
                "train was given no --model; give one, such as --model digits-cnn, or the file of "
                "a trained network to go on from, such as --from model.hbk."
            )
        if self.verb == "train":
            refuse_size(self.method)
        if not self.start.checkpoint and not self.start.model:
            raise ValueError(
                "compress was given neither --from nor --model; give a file to start from, "
                "or the name of a network to train first, such as --model digits-cnn."
            )
        if self.task == "image":
            self._check_images()
        elif self.threat is None:
            refuse_missing(self.verb, [_flags(self.verb, self.task)["threat"]])
        else:
            self.attacked()  # an attack that there is not is named before hours of training

    def _check_images(self) -> None:
        name = resolve.method_name(self.method)
        if self.method.needs_labels:
            raise ValueError(
                f"--method {name} needs labels, and --task image has none; give gan-slimming."
            )
        if not self.start.checkpoint and self.method.distillation.teacher in ("", "self"):
            raise ValueError(
                "compress --task image was given no --from; give the trained network to slim, such "
                "as --from generator.pt with --model package.module:generator, or one for a small "
                "--model to imitate, as --teacher generator.hbk."
            )

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
        line, found, every = _split(verb, argv[1:])
        settings = {**found, **line.settings}
        if line.help:
            name = method_name(verb, settings)
            task = task_of(settings)
            case = "--task image" if (verb, task) == ("compress", IMAGE) else ""
            listed = shown_flags(flags_of(RunSpec), verb, task, name)
            explain(verb, _ABOUT[verb], listed, "[RUN.TOML]", case)
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
        run_file.refuse_unknown(found, every_flag(flags_of(RunSpec), verb) | own_flags(found))
        return cls._read(verb, found)

    @classmethod
    def _read(cls, verb: Verb, settings: Settings) -> RunSpec:
        """The run of settings that have a known flag each."""
        name, task = method_name(verb, settings), task_of(settings)
        mine, theirs = _flags(verb, task), method_flags(name)
        refuse_other_task(verb, settings, mine, task)
        refuse_foreign(settings, mine | theirs, name)
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
        found = _flags(self.verb, self.task) | flags_of(type(self.method))
        found.pop("method", None)
        return found

    def _given(self) -> list[tuple[Flag, object]]:
        """Each flag with its value."""
        name = resolve.method_name(self.method)
        mine, theirs = _flags(self.verb, self.task), method_flags(name)
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
            f"image_size={self.data.image_size or 0} {self.task} {self.threat} seed={self.seed} "
            f"precision={self.training.precision}"
        )

    @property
    def code(self) -> dict[str, str]:
        """The digest of the code of a user's own --model, as an input of the run."""
        place = self.start.model
        digest = digest_of_place(place) if is_place(place) else ""
        return {CODE: digest} if digest else {}

    def attacked(self) -> Evaluation:
        """The evaluation of the classifier that ships."""
        assert self.threat is not None
        return self.evaluation.evaluation(self.threat, self.seed)

    def measured(self) -> ImageEvaluation:
        """The evaluation of the network from images to images that ships.

        Raises:
            ValueError: features that cannot be used.
            OSError: a file that cannot be read.
        """
        return self.images.evaluation(self.seed, self.evaluation.limit)

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
            inputs=self.code,
            watcher=bar if group.first else Watcher(),
            group=group,
        )


def _flags(verb: Verb, task: str) -> dict[str, Flag]:
    return selected(flags_of(RunSpec), verb, task)


def _split(verb: Verb, words: Sequence[str]) -> tuple[CommandLine, Settings, dict[str, Flag]]:
    """The command line, what its file says, and the flags that both may have.

    It is split a second time if the words or the file name a method of the user's own.
    """
    every = every_flag(flags_of(RunSpec), verb)
    for _ in range(2):
        line, path = CommandLine.split(verb, words, every).run_file()
        found: Settings = {} if path is None else run_file.read(path, verb)
        own = own_flags({**found, **line.settings})
        if not own:
            break
        every |= own
    return line, found, every
