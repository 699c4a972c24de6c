"""Which flags a run has: those of its verb, its task and its method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

from hauberk.cli import resolve
from hauberk.cli.flags import Flag, Settings, flags_of
from hauberk.cli.tasks import CLASSES, IMAGE, of_task, task_of
from hauberk.runtime.packages import is_place

Verb: TypeAlias = Literal["train", "compress"]
TRAINING = ("da", "boost")
"""The methods of ``train``; the first is its default."""
DEFAULT_METHOD, IMAGE_METHOD = "atmc", "gan-slimming"
CHOOSES = {"size": "size-target", "robust-at-least": "robustness-target"}
"""Flags that choose their method when ``--method`` is not given."""


def method_flags(name: str) -> dict[str, Flag]:
    """The flags of a method, by name.

    Raises:
        ValueError: there is no such method.
    """
    return flags_of(resolve.method(name), f"method {resolve.canonical(name)}")


_FINE_TUNED = (
    "trained weights to go on from, robust or not: an .hbk file, or plain weights of --model, as "
    ".safetensors or as a state_dict in .pt, .pth, .bin, .ckpt or .pth.tar; what is not robust is "
    "said before the training."
)


def selected(flags: Mapping[str, Flag], verb: Verb, task: str) -> dict[str, Flag]:
    """The flags of a run with a task, its method's left out.

    Args:
        flags: those of any run.
        verb: ``train`` or ``compress``.
        task: ``classes`` or ``image``.
    """
    found = of_task(flags, task)
    found["out"] = replace(found["out"], default=Path("runs") / verb)
    found.pop("picture", None)  # every run draws one
    if verb == "train":
        del found["task"]
        found["from"] = replace(found["from"], help=_FINE_TUNED)
        about = f"{' or '.join(TRAINING)}. Its own flags are listed below."
        return {"method": Flag("method", str, TRAINING[0], about), **found}
    methods = ", ".join(resolve.methods())
    chosen = " and ".join(f"--{flag} chooses {name}" for flag, name in CHOOSES.items())
    about = (
        f"one of {methods}; {chosen}; or your own, package.module:Name. Its own flags are listed "
        "below."
    )
    default = IMAGE_METHOD if task == IMAGE else DEFAULT_METHOD
    return {"method": Flag("method", str, default, about), **found}


def method_name(verb: Verb, settings: Settings) -> str:
    """The name of the method: given by ``--method``, or by a flag that only one method has.

    Raises:
        ValueError: flags that choose different methods, or a method that the task or the verb does
            not have.
    """
    chosen = [name for flag, name in CHOOSES.items() if flag in settings]
    if len(chosen) > 1:
        raise ValueError(
            "--size and --robust-at-least were both given; one says how large the file is, the "
            "other finds it out: give one."
        )
    named = [str(settings["method"].value)] if "method" in settings else []
    if verb == "train":
        return _training(resolve.canonical((*named, TRAINING[0])[0]))
    default = IMAGE_METHOD if task_of(settings) == IMAGE else DEFAULT_METHOD
    return resolve.canonical((*named, *chosen, default)[0])


def _training(name: str) -> str:
    """The name of a method of ``train``.

    Raises:
        ValueError: the method compresses, or there is none of this name.
    """
    if name not in TRAINING and (not is_place(name) or _compresses(name)):
        resolve.method(name)  # a name that there is not is refused as such
        raise ValueError(
            f"train was given the method {name}, which compresses; give {' or '.join(TRAINING)}, "
            f"or use hauberk compress --method {name}."
        )
    return name


def _compresses(name: str) -> bool:
    from hauberk.method import Compression

    return issubclass(resolve.method(name), Compression)


def refuse_foreign(settings: Settings, known: dict[str, Flag], method: str) -> None:
    """Check that no flag of another method was given.

    Args:
        settings: what was given, by the names of the flags.
        known: the flags of the run and its method.
        method: its name, for the error.

    Raises:
        ValueError: a flag that only other methods have.
    """
    for name, setting in settings.items():
        if name not in known:
            having = [other for other in resolve.methods() if name in method_flags(other)]
            theirs = ", ".join(having)
            raise ValueError(
                f"{setting.source} is no flag of the method {method}; methods with it are {theirs}."
            )


def shown_flags(flags: Mapping[str, Flag], verb: Verb, task: str, method: str) -> dict[str, Flag]:
    """The flags that a help lists: the run's, and those that choose a method of their own.

    Args:
        flags: those of any run.
        verb: ``train`` or ``compress``.
        task: ``classes`` or ``image``.
        method: by name.
    """
    mine = selected(flags, verb, task) | method_flags(method)
    others = CHOOSES if verb == "compress" and task == CLASSES else {}
    chosen = {name: method_flags(which)[name] for name, which in others.items()}
    return mine | {
        name: replace(flag, default="", help=f"{flag.help} It chooses --method {others[name]}.")
        for name, flag in chosen.items()
        if name not in mine
    }


def every_flag(flags: Mapping[str, Flag], verb: Verb) -> dict[str, Flag]:
    """The flags of a run with any task and any method of hauberk's.

    Args:
        flags: those of any run.
        verb: ``train`` or ``compress``.
    """
    names = TRAINING if verb == "train" else tuple(resolve.methods())
    theirs = [method_flags(name) for name in names]
    tasks = (CLASSES,) if verb == "train" else (CLASSES, IMAGE)
    mine = [selected(flags, verb, task) for task in tasks]
    return {name: flag for some in (*theirs, *mine) for name, flag in some.items()}


def own_flags(settings: Settings) -> dict[str, Flag]:
    """The flags of a method of the user's own, if the settings name one."""
    name = str(settings["method"].value) if "method" in settings else ""
    return method_flags(name) if is_place(name) else {}
