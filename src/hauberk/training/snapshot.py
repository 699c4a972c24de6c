"""Snapshots: what a run saves and restores, and the weights it falls back to.

``checkpoint.safetensors`` holds the stage under way, after each epoch and when a signal stops the
run; ``stage-N.safetensors`` holds the end of each finished stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import nn

from hauberk.runtime.packages import gist
from hauberk.training import checkpoint
from hauberk.training.run import Run

_CHECKPOINT = "checkpoint.safetensors"


@runtime_checkable  # for checkers of annotations
class Restorable(Protocol):
    """A part of a training that a resumed run goes on with."""

    def tree(self) -> dict[str, Any]:
        """Nested dicts of tensors and numbers; every process calls it at the same time."""

    def load(self, tree: dict[str, Any]) -> None:
        """Take back what `tree` returned."""


class Snapshot:
    """The state of one stage, on disk and, as a fallback, in memory.

    Args:
        run: its folder, its identity and its processes.
        number: of the stage in its method.
        model: the network that is trained.
        parts: what is saved besides the model's own state, by name.
    """

    def __init__(
        self, run: Run, number: int, model: nn.Module, parts: Mapping[str, Restorable]
    ) -> None:
        self.run, self.number, self.model, self.parts = run, number, model, parts
        self._remember()

    def restore(self) -> None:
        """Go on from the checkpoint, where the run resumes and has one of this stage.

        Raises:
            ValueError: the checkpoint is damaged, or belongs to a run with other settings.
        """
        tree = _read(self.run, _CHECKPOINT)
        if tree and tree["stage"] == self.number:
            load_weights(self.model, tree["model"], self.run)
            for name, part in self.parts.items():
                part.load(tree[name])
            self._remember()

    def save(self) -> None:
        """Write the checkpoint; its weights become the fallback."""
        self._remember()
        self._write(_CHECKPOINT)

    def finish(self) -> None:
        """Write the end of the stage; the checkpoint is no longer needed."""
        self._write(_finished(self.number))
        if self.run.folder:
            (self.run.folder / _CHECKPOINT).unlink(missing_ok=True)

    def fall_back(self) -> None:
        """Put the last saved weights into the model, those from before it diverged."""
        self.model.load_state_dict(self._weights)

    def _remember(self) -> None:
        self._weights = {name: t.clone() for name, t in self.model.state_dict().items()}

    def _write(self, name: str) -> None:
        """The first process writes what all have agreed on."""
        tree = {
            "identity": self.run.identity,
            "inputs": dict(self.run.inputs),
            "stage": self.number,
            "model": dict(self.model.state_dict()),
            **{key: part.tree() for key, part in self.parts.items()},
        }
        if self.run.folder:
            checkpoint.save(self.run.folder / name, tree)
        self.run.group.barrier()


def finished(run: Run, number: int) -> dict[str, Any] | None:
    """The snapshot at the end of a stage; None unless the run resumes and has passed it.

    Raises:
        ValueError: the file is damaged, or belongs to a run with other settings.
    """
    return _read(run, _finished(number))


def load_weights(model: nn.Module, state: Mapping[str, Any], run: Run) -> None:
    """Put the weights of a snapshot into the model.

    Args:
        model: the network that is trained.
        state: of the snapshot.
        run: whose folder holds it.

    Raises:
        ValueError: they are those of another network.
    """
    try:
        model.load_state_dict(state)
    except RuntimeError as error:  # names or shapes differ
        raise ValueError(
            f"{run.out} holds the checkpoint of another network ({gist(error)}); give the network "
            "of that run, or another --out, or leave --resume out to start anew."
        ) from error


def clear(folder: Path) -> None:
    """Delete the snapshots of an earlier run."""
    for path in (folder / _CHECKPOINT, *folder.glob(_finished("*"))):
        path.unlink(missing_ok=True)


def _finished(number: int | str) -> str:
    return f"stage-{number}.safetensors"


def _read(run: Run, name: str) -> dict[str, Any] | None:
    tree = checkpoint.load(run.out / name, run.group) if run.out and run.resume else None
    if tree and tree["identity"] != run.identity:
        raise ValueError(
            f"{run.out} holds the checkpoint of a run with other settings; give the settings "
            "of that run, or another --out, or leave --resume out to start anew."
        )
    was = tree.get("inputs", {}) if tree else {}
    changed = [name for name, digest in was.items() if run.inputs.get(name, digest) != digest]
    if changed:
        raise ValueError(
            f"{run.out} holds the checkpoint of a run with other {' and other '.join(changed)} "
            "(the names are the same, the content has changed since); give those of that run, or "
            "another --out, or leave --resume out to start anew."
        )
    return tree
