"""The optimisation problem that every part of hauberk states or solves.

    min_w  E_(x,y) [ max_{x' ∈ Δ(x)} loss(f_w, x', y) ]  +  Σ r_i(w)
    s.t.   w ∈ C_1 ∩ C_2 ∩ …          pruning, factorisation, quantisation are sets
           g_k(w) ≤ τ_k               bytes, robust loss, distortion are bounds

`Objective` holds what the adversary chooses; `Structure` and `Bound` hold what the designer
demands. A solver sees only these three.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from torch import Tensor, nn

from hauberk.batch import Batch
from hauberk.types import Scalar, Weights


class NotFinite(ValueError):
    """NaN or infinite weights, which no set contains: the run diverged."""


class Infeasible(ValueError):
    """No weights that meet a bound were found; the message names the best value found."""


@dataclass(frozen=True)
class Loss:
    """The loss and the metrics to log with it.

    Attributes:
        value: the scalar that is minimised.
        metrics: detached scalars for the log, such as ``robust`` (accuracy in [0, 1]).
    """

    value: Scalar
    metrics: Mapping[str, Tensor] = field(default_factory=lambda: MappingProxyType({}))


class Objective(ABC):
    """The function of the weights that is minimised; the inner maximisation happens inside."""

    @abstractmethod
    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """The loss of ``model`` on ``batch``, differentiable in the model's parameters."""

    def memory(self) -> dict[str, Tensor]:
        """The initial memory of a stage; empty by default.

        Each step receives it as `Batch.memory` and updates it in place; checkpoints store it.
        """
        return {}

    def failure(self, metrics: Mapping[str, float]) -> str | None:
        """What the mean metrics of an epoch show to have gone wrong; by default nothing.

        Returns:
            The end of a one-line error after "Stage slim …", with what to try; None if all is well.
        """
        return None

    def searches(self) -> int:
        """Attacks on each example; `WarmStart` keeps a perturbation for each of them."""
        return 1


class Structure(ABC):
    """A requirement on the weights, given as a proximal map."""

    @abstractmethod
    def prox(self, w: Weights, step: float) -> Weights:
        """``argmin_v  step · r(v) + ½ ‖v − w‖²``, on the whole tree."""

    def at(self, progress: float) -> Structure:
        """The structure in force after the fraction ``progress`` in [0, 1] of the stage."""
        return self


class Constraint(Structure):
    """A closed set of weight trees with its projection, Euclidean unless its docstring says not."""

    @abstractmethod
    def project(self, w: Weights) -> Weights:
        """``argmin ‖w' − w‖  s.t.  w' ∈ C``: a new tree of the same names, shapes and types.

        Its tensors share no memory with those of ``w``, which stay as they are.
        """

    @abstractmethod
    def size_bits(self, w: Weights) -> int:
        """Bits that name the feasible point ``w`` among the points of the set (floats count 32)."""

    @abstractmethod
    def budget_bits(self, w: Weights) -> int:
        """The largest `size_bits` that any point of the set has, on a tree of these shapes."""

    def prox(self, w: Weights, step: float) -> Weights:
        """The projection: an indicator function has the same prox for every step."""
        return self.project(w)

    def at(self, progress: float) -> Constraint:
        """The set in force after the fraction ``progress`` in [0, 1] of the stage."""
        return self


class Penalty(Structure):
    """A term added to the loss; solvers apply its prox, never the gradient of a detached norm."""

    @abstractmethod
    def value(self, w: Weights) -> Scalar:
        """``r(w)``."""

    def at(self, progress: float) -> Penalty:
        """The penalty in force after the fraction ``progress`` in [0, 1] of the stage."""
        return self


@dataclass(frozen=True)
class Bound:
    """``g(w) ≤ limit``: a differentiable proxy drives the weights, the true value the multiplier.

    Attributes:
        surrogate: differentiable estimate of ``g``, seen by the primal step.
        strict: the true value of ``g`` (rounded, quantised, measured), seen by the dual step.
        limit: ``τ``, in the units of ``g``.
    """

    surrogate: Callable[[nn.Module, Batch], Scalar]
    strict: Callable[[nn.Module], float]
    limit: float


def parameters(model: nn.Module) -> Sequence[str]:
    """The names of all trainable parameters: the default selection that structures apply to."""
    return [name for name, p in model.named_parameters() if p.requires_grad]


@dataclass(frozen=True)
class Problem:
    """An objective, its named structures and bounds, and the weights that they apply to.

    Attributes:
        objective: the function to minimise.
        structures: by name; a solver splits or projects them by name, and logs carry the names.
        bounds: by name.
        select: the names of the parameters that the structures constrain.
    """

    objective: Objective
    structures: Mapping[str, Structure] = field(default_factory=lambda: MappingProxyType({}))
    bounds: Mapping[str, Bound] = field(default_factory=lambda: MappingProxyType({}))
    select: Callable[[nn.Module], Sequence[str]] = parameters

    def weights(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """The live parameters of ``model`` that the structures constrain."""
        every = dict(model.named_parameters())
        return {name: every[name] for name in self.select(model)}
