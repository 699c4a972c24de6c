"""The role of a solver: an algorithm that takes one step on a problem at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Generic, TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer

from hauberk.batch import Batch
from hauberk.problem import Problem

Metrics = Mapping[str, Tensor]


class State:
    """A solver's mutable memory: a dataclass whose fields are what a resumed run needs.

    Fields may be tensors, numbers, None, optimisers, other states, and lists and dicts of these.
    The weights are saved with the model. Settings are not saved: they stay in the solver.
    """

    def tree(self) -> dict[str, Any]:
        """Nested dicts and lists of tensors and numbers, for the checkpoint."""
        return {name: _saved(value) for name, value in self._memory().items()}

    def load(self, tree: dict[str, Any]) -> None:
        """Take back what `tree` returned, on the devices of the tensors now."""
        for name, value in self._memory().items():
            setattr(self, name, _restored(value, tree[name]))

    def _memory(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]


def _saved(value: Any) -> Any:
    if isinstance(value, State):
        return value.tree()
    if isinstance(value, Optimizer):
        return value.state_dict()
    if isinstance(value, dict):
        return {k: _saved(v) for k, v in value.items()}
    return [_saved(v) for v in value] if isinstance(value, list) else value


def _restored(old: Any, new: Any) -> Any:
    """The saved value ``new``, of the kind and on the device of ``old``."""
    if isinstance(old, State):
        old.load(new)
        return old
    if isinstance(old, Optimizer):
        old.load_state_dict(new)
        return old
    if isinstance(old, dict):
        return {k: _restored(old[k], v) for k, v in new.items()}
    if isinstance(old, list):
        return [_restored(a, b) for a, b in zip(old, new, strict=True)]
    return new.to(old.device) if isinstance(old, Tensor) else new


S = TypeVar("S", bound=State)


class Solver(ABC, Generic[S]):
    """An algorithm that minimises an objective under structures, whichever they are."""

    @abstractmethod
    def init(self, problem: Problem, model: nn.Module) -> S:
        """The state at the start of a stage.

        Raises:
            ValueError: this solver cannot solve such a problem.
        """

    @abstractmethod
    def step(self, problem: Problem, model: nn.Module, batch: Batch, state: S) -> Metrics:
        """One step on one batch, in place.

        Args:
            problem: what is solved.
            model: its weights are changed.
            batch: the examples of this step.
            state: is changed.

        Returns:
            Scalars on the device, detached; among them ``loss``.

        Raises:
            NotFinite: the weights are no longer finite.
            Infeasible: a bound cannot be met.
        """

    @abstractmethod
    def finish(self, problem: Problem, model: nn.Module, state: S) -> None:
        """Leave weights in ``model`` that satisfy every constraint of the problem.

        Args:
            problem: what was solved.
            model: its weights are changed.
            state: at the end of the stage.
        """
