"""The role of a solver: an algorithm that takes one step on a problem at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from hauberk.batch import Batch
from hauberk.problem import Problem

Metrics = Mapping[str, Tensor]


class State(ABC):
    """A solver's mutable memory; it is all that a resumed run needs beside the weights."""

    @abstractmethod
    def tree(self) -> dict[str, Any]:
        """Nested dicts of tensors and numbers, for the checkpoint."""

    @abstractmethod
    def load(self, tree: dict[str, Any]) -> None:
        """Take back what `tree` gave."""


S = TypeVar("S", bound=State)


class Solver(ABC, Generic[S]):
    """An algorithm that sees an objective and structures, and nothing of what they mean."""

    @abstractmethod
    def init(self, problem: Problem, model: nn.Module) -> S:
        """The memory at the start of a stage."""

    @abstractmethod
    def step(self, problem: Problem, model: nn.Module, batch: Batch, state: S) -> Metrics:
        """One step on one batch, in place; the metrics hold ``loss``, detached, on the device."""

    @abstractmethod
    def finish(self, problem: Problem, model: nn.Module, state: S) -> None:
        """Leave weights in ``model`` that satisfy every constraint of the problem."""
