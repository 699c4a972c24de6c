"""The role of a solver: an algorithm that takes one step on a problem at a time."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hauberk.batch import Batch
from hauberk.problem import Problem
from hauberk.runtime import schema

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
        """Take back what `tree` returned, on the devices of the tensors now.

        Raises:
            Misfit: `tree` of such a state did not return it.
        """
        memory = self._memory()
        schema.keys(tree, memory, "the solver's state")
        for name, value in memory.items():
            setattr(self, name, _restored(value, tree[name], name))

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


def _restored(old: Any, new: Any, place: str) -> Any:
    """The saved value ``new``, of the kind and on the device of ``old``."""
    if isinstance(old, State):
        old.load(new)
        return old
    if isinstance(old, Optimizer):
        old.load_state_dict(_moments(old, new, place))
        return old
    if isinstance(old, dict):
        schema.keys(new, old, place)
        return {k: _restored(old[k], v, f"{place}.{k}") for k, v in new.items()}
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [_restored(a, b, place) for a, b in zip(old, new, strict=True)]
    schema.alike(new, old, place)
    return new.to(old.device) if isinstance(old, Tensor) else new


def _moments(optimizer: Optimizer, found: Any, place: str) -> dict[str, Any]:
    """The saved moments under the settings of now, once they fit the parameters."""
    schema.keys(found, ("state", "param_groups"), place)
    now, moments = optimizer.state_dict(), found["state"]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    numbers = [number for group in now["param_groups"] for number in group["params"]]
    known, like = dict(zip(numbers, parameters, strict=True)), _first_moments(optimizer)
    if not isinstance(moments, dict) or not all(type(n) is int and n in known for n in moments):
        raise schema.Misfit(f"{place} has moments of other parameters")
    for number, each in moments.items():
        schema.keys(each, like, f"{place}.{number}")
        for name, value in like.items():
            if isinstance(value, Tensor):
                schema.alike(
                    each[name], known[number] if value.ndim else value, f"{place}.{number}.{name}"
                )
            else:
                schema.alike(each[name], value, f"{place}.{number}.{name}")
    return {"state": moments, "param_groups": now["param_groups"]}


def _first_moments(optimizer: Optimizer) -> dict[str, Any]:
    """The moments of such an optimiser after a step on one weight: its kind has its own."""
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    trial = copy.copy(optimizer)
    trial.state, trial.param_groups = (
        defaultdict(dict),
        [{**optimizer.param_groups[0], "params": [weight]}],
    )
    trial.step()
    return dict(trial.state[weight])


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
