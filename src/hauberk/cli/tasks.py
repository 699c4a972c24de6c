"""Flags that only one task has: classifying, or making images from images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, replace

from hauberk.cli.flags import Flag, Settings

CLASSES, IMAGE = "classes", "image"
_OWN = {
    CLASSES: ("threat", "attack", "restarts", "draws", "require", "checks"),
    IMAGE: ("features", "cost-size", "picture"),
}
"""The flags of one task alone."""
_NEEDED = {CLASSES: "threat", IMAGE: "dense"}
"""The flag that a task cannot do without, where the verb has it."""


def task_of(settings: Settings) -> str:
    """The task that was given; one that does not exist is refused where its value is read."""
    return str(settings["task"].value) if "task" in settings else CLASSES


def of_task(flags: Mapping[str, Flag], task: str) -> dict[str, Flag]:
    """The flags of a verb with a task: the one that the task needs has no default.

    Args:
        flags: those of the verb.
        task: ``classes`` or ``image``; any other leaves the flags as they are.
    """
    foreign = [name for other, own in _OWN.items() if other != task for name in own]
    found = {n: flag for n, flag in flags.items() if task not in _OWN or n not in foreign}
    needed = _NEEDED.get(task)
    if needed in found:
        found[needed] = replace(found[needed], default=MISSING)
    return found


def refuse_other_task(verb: str, settings: Settings, known: Mapping[str, Flag], task: str) -> None:
    """Check that no flag of another task was given.

    Args:
        verb: the command.
        settings: what was given, by the names of the flags.
        known: the flags of this task.
        task: its name, for the error.

    Raises:
        ValueError: a flag that only another task has.
    """
    for name in (name for own in _OWN.values() for name in own):
        if name in settings and name not in known:
            raise ValueError(
                f"{settings[name].source} is no flag of {verb} --task {task}; leave it out"
                f"{settings[name].hint}"
            )
