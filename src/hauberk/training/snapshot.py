"""Snapshots: what a run saves and restores, and the weights it falls back to.

``checkpoint.safetensors`` holds the stage under way, after each epoch and when a signal stops the
run; ``stage-N.safetensors`` holds the end of each finished stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from hauberk.runtime import schema
from hauberk.runtime.packages import gist
from hauberk.training import checkpoint
from hauberk.training.run import Run

_CHECKPOINT = "checkpoint.safetensors"
MOST_STAGES = 1 << 20
"""Limit on the stages of a run, and on the numbers of them in files."""


@runtime_checkable  # for checkers of annotations
class Restorable(Protocol):
    """A part of a training that a resumed run goes on with."""

    def tree(self) -> dict[str, Any]:
        """Nested dicts of tensors and numbers; every process calls it at the same time."""

    def load(self, tree: dict[str, Any]) -> None:
        """Take back what `tree` returned.

        Raises:
            Misfit: `tree` did not return it.
        """


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
        if tree is None or tree["stage"] != self.number:
            return
        with fitting(self.run, _CHECKPOINT):
            schema.keys(tree, ("identity", "inputs", "stage", "model", *self.parts), "it")
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


def load_weights(model: nn.Module, state: Any, run: Run) -> None:
    """Put the weights of a snapshot into the model.

    Args:
        model: the network that is trained.
        state: of the snapshot.
        run: whose folder holds it.

    Raises:
        ValueError: they are those of another network.
    """
    try:
        schema.alike(state, dict(model.state_dict()), "the model")
        model.load_state_dict(state)
    except (schema.Misfit, RuntimeError) as error:
        raise ValueError(
            f"{run.out} holds the checkpoint of another network ({gist(error)}); give the network "
            "of that run, or another --out, or leave --resume out to start anew."
        ) from error


def passed(
    run: Run, number: int, done: dict[str, Any], model: nn.Module, log: Restorable
) -> Tensor:
    """Go on from the end of a stage.

    Args:
        run: that resumes.
        number: of the stage.
        done: from `finished`.
        model: takes the weights.
        log: takes the rows.

    Returns:
        The perturbations that the attacks of the stage ended with.

    Raises:
        ValueError: the file does not fit the run.
    """
    with fitting(run, _finished(number)):
        schema.within(done["stage"], number, number, "the stage")
        load_weights(model, done.get("model"), run)
        log.load(done.get("log", {}))
        batches = done.get("batches")
        found = batches.get("perturbations") if isinstance(batches, dict) else None
        if not isinstance(found, Tensor) or found.dtype != torch.float16:
            raise schema.Misfit("the perturbations are no float16 tensor")
        return found


def clear(folder: Path) -> None:
    """Delete the snapshots of an earlier run."""
    for path in (folder / _CHECKPOINT, *folder.glob(_finished("*"))):
        path.unlink(missing_ok=True)


@contextmanager
def fitting(run: Run, name: str) -> Iterator[None]:
    """Name the file in the error for a value that no run of these settings writes.

    Args:
        run: that reads the file.
        name: of the file.

    Raises:
        ValueError: a value does not fit.
    """
    try:
        yield
    except schema.Misfit as error:
        path = run.out and run.out / name
        raise ValueError(
            f"{path} is no checkpoint of this run ({error}); {checkpoint.AGAIN}."
        ) from error


def _finished(number: int | str) -> str:
    return f"stage-{number}.safetensors"


def _read(run: Run, name: str) -> dict[str, Any] | None:
    tree = checkpoint.load(run.out / name, run.group) if run.out and run.resume else None
    if tree is None:
        return None
    with fitting(run, name):
        schema.alike(tree.get("identity"), run.identity, "the run's name")
        schema.within(tree.get("stage"), 0, MOST_STAGES, "the stage")
        schema.conforms(tree.get("inputs"), Mapping[str, str], "the inputs")
    if tree["identity"] != run.identity:
        raise ValueError(
            f"{run.out} holds the checkpoint of a run with other settings; give the settings "
            "of that run, or another --out, or leave --resume out to start anew."
        )
    was = tree["inputs"].items()
    changed = [name for name, digest in was if run.inputs.get(name, digest) != digest]
    if changed:
        raise ValueError(
            f"{run.out} holds the checkpoint of a run with other {' and other '.join(changed)} "
            "(the names are the same, the content has changed since); give those of that run, or "
            "another --out, or leave --resume out to start anew."
        )
    return tree
