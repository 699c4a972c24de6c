"""Descent, which all solvers share: a preconditioned gradient step, and averaged weights.

w ← w − γ_t · P ∇f(w),  P from AdamW or the identity, γ_t one-cycle (up to the peak, then a
cosine down to zero);
w̄ ← a_t w̄ + (1 − a_t) w, the average that `finish` starts from (Polyak averaging).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.batch import Batch
from hauberk.problem import Problem
from hauberk.solver import Metrics, State

_RESIDUE = 1e-12
"""Averaged weights below this fraction of their tensor's maximum are residues of pruned weights."""


@dataclass(frozen=True)
class Descent:
    """Gradient descent on the smooth part of a problem.

    Attributes:
        lr: peak learning rate.
        weight_decay: decoupled weight decay.
        clip: larger gradient norms are scaled down to this one.
        ramp: fraction of the stage over which the rate rises; it falls over the rest.
        average: decay of the weight average, in [0, 1); 0 keeps the last iterate.
        adaptive: AdamW; off is plain gradient descent, for which proximal steps are exact.
        multiples: of the learning rate, for some parameters by name; 1 for the others.

    Raises:
        ValueError: a setting is out of its range.
    """

    lr: float = 2e-3
    weight_decay: float = 0.0
    clip: float = 1.0
    ramp: float = 0.25
    average: float = 0.998
    adaptive: bool = True
    multiples: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise ValueError(f"lr was given as {self.lr}; give a positive learning rate.")
        if not 0 <= self.average < 1:
            raise ValueError(f"average was given as {self.average}; give a memory in [0, 1).")

    def rate(self, progress: float) -> float:
        """γ at ``progress`` in [0, 1] of the stage."""
        if progress < self.ramp:
            return self.lr * (0.04 + 0.96 * progress / self.ramp)
        return self.lr * 0.5 * (1 + math.cos(math.pi * (progress - self.ramp) / (1 - self.ramp)))

    def init(self, model: nn.Module) -> DescentState:
        """The state before the first step, for the trainable parameters of ``model``."""
        kind = torch.optim.AdamW if self.adaptive else torch.optim.SGD
        groups: dict[float, list[nn.Parameter]] = {}
        for name, p in model.named_parameters():
            if p.requires_grad:
                groups.setdefault(self.multiples.get(name, 1.0), []).append(p)
        trained = [{"params": ps, "multiple": multiple} for multiple, ps in groups.items()]
        optimizer = kind(trained, lr=self.lr, weight_decay=self.weight_decay)
        optimizer.zero_grad()
        return DescentState(optimizer, [t.detach().clone() for t in averaged(model)])

    def step(
        self,
        problem: Problem,
        model: nn.Module,
        batch: Batch,
        state: DescentState,
        pull: Callable[[], None] | None = None,
    ) -> Metrics:
        """One gradient step on the objective, in place, on the batch of all processes.

        Args:
            problem: its objective is differentiated.
            model: its parameters move.
            batch: this process's rows.
            state: of the optimiser.
            pull: is called once the gradients are clipped, just before the step; it may change
                gradients or weights.

        Returns:
            ``loss`` and the objective's metrics.
        """
        loss = problem.objective(model, batch)
        torch.autograd.backward(loss.value * batch.fraction)
        batch.group.all_reduce_([p.grad for p in model.parameters() if p.grad is not None])
        nn.utils.clip_grad_norm_(model.parameters(), self.clip)
        if pull:
            pull()
        for group in state.optimizer.param_groups:
            group["lr"] = self.rate(batch.progress) * group["multiple"]
        state.optimizer.step()
        state.optimizer.zero_grad()  # now, so that projections can use the memory
        return {"loss": loss.value.detach(), **loss.metrics}

    @torch.no_grad()
    def track(self, model: nn.Module, state: DescentState) -> None:
        """Move the average towards the weights; a young average forgets faster."""
        state.steps += 1
        if self.average:
            memory = min(self.average, state.steps / (state.steps + 10))
            torch._foreach_lerp_(state.mean, list(averaged(model)), 1 - memory)

    @torch.no_grad()
    def settle(self, model: nn.Module, state: DescentState) -> None:
        """Copy the average into the model, with residues of zeros set to zero.

        The average of a weight that a prox keeps at zero decays but does not reach zero. Such
        residues are worth nothing, and as denormal numbers they slow a CPU down ten times.
        """
        if self.average and state.steps:
            for mean in filter(torch.Tensor.numel, state.mean):
                size = mean.abs()
                mean.masked_fill_(size < _RESIDUE * size.amax(), 0.0)
            torch._foreach_copy_(list(averaged(model)), state.mean)


@dataclass
class DescentState(State):
    """The optimiser's moments, and the running average of the model's parameters and buffers.

    Attributes:
        optimizer: of the trainable parameters.
        mean: the averages of `averaged`, in its order.
        steps: steps made.
    """

    optimizer: torch.optim.Optimizer
    mean: list[Tensor]
    steps: int = 0


def averaged(model: nn.Module) -> Iterable[Tensor]:
    """The tensors that are averaged: trainable parameters, floating-point buffers of the state.

    A buffer outside the state, such as a mask of -inf, is a constant of the network.
    """
    yield from (p for p in model.parameters() if p.requires_grad)
    kept = model.state_dict(keep_vars=True)
    yield from (b for n, b in model.named_buffers() if n in kept and b.is_floating_point())


@torch.no_grad()
def put(weights: dict[str, nn.Parameter], values: Any) -> None:
    """Copy a tree of values into the live weights."""
    for name, parameter in weights.items():
        parameter.copy_(values[name])
