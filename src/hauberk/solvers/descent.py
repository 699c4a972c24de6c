"""The smooth part that solvers share: one preconditioned gradient step, and the averaged weights.

w ← w − γ_t · P ∇f(w),  P from AdamW or the identity, γ_t one-cycle (up to the peak, then a
cosine down to zero);
w̄ ← a_t w̄ + (1 − a_t) w, the average that `finish` starts from (Polyak averaging).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.batch import Batch
from hauberk.problem import Problem
from hauberk.solver import Metrics, State

_REST = 1e-12
"""Of a tensor's largest average, what is below this is the rest of a zero."""


@dataclass(frozen=True)
class Descent:
    """How the smooth part steps.

    Attributes:
        lr: peak learning rate.
        weight_decay: decoupled weight decay.
        clip: largest gradient norm that is let through.
        ramp: share of the stage over which the rate rises; it falls over the rest.
        average: memory of the weight average, in [0, 1); 0 keeps the last iterate.
        adaptive: AdamW; off is plain gradient descent, for which proximal steps are exact.
    """

    lr: float = 2e-3
    weight_decay: float = 0.0
    clip: float = 1.0
    ramp: float = 0.25
    average: float = 0.998
    adaptive: bool = True

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if not self.lr > 0:
            raise ValueError(f"lr was given as {self.lr}; give a positive learning rate.")
        if not 0 <= self.average < 1:
            raise ValueError(f"average was given as {self.average}; give a memory in [0, 1).")

    def rate(self, progress: float) -> float:
        """γ at ``progress`` in [0, 1] of the stage."""
        if progress < self.ramp:
            return self.lr * (0.04 + 0.96 * progress / self.ramp)
        return self.lr * 0.5 * (1 + math.cos(math.pi * (progress - self.ramp) / (1 - self.ramp)))


class Descending(State):
    """The optimiser's moments, and the running average of the whole model state.

    Args:
        model: the network whose parameters descend.
        descent: how.
    """

    def __init__(self, model: nn.Module, descent: Descent) -> None:
        self.descent = descent
        kind = torch.optim.AdamW if descent.adaptive else torch.optim.SGD
        trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer: torch.optim.Optimizer = kind(
            trained, lr=descent.lr, weight_decay=descent.weight_decay
        )
        self.optimizer.zero_grad()
        self.steps = 0
        self.mean = [t.detach().clone() for t in averaged(model)]

    def tree(self) -> dict[str, Any]:
        """Moments, average, count."""
        return {"optimizer": self.optimizer.state_dict(), "steps": self.steps, "mean": self.mean}

    def load(self, tree: dict[str, Any]) -> None:
        """Take back what `tree` gave."""
        self.optimizer.load_state_dict(tree["optimizer"])
        self.steps = tree["steps"]
        self.mean = [new.to(old.device) for old, new in zip(self.mean, tree["mean"], strict=True)]

    @torch.no_grad()
    def track(self, model: nn.Module) -> None:
        """Move the average towards the weights; young averages forget faster."""
        self.steps += 1
        if self.descent.average:
            memory = min(self.descent.average, self.steps / (self.steps + 10))
            torch._foreach_lerp_(self.mean, list(averaged(model)), 1 - memory)

    @torch.no_grad()
    def settle(self, model: nn.Module) -> None:
        """Put the average into the model; what only decays towards zero in it is zero.

        Of a weight that a prox has long put to zero the average keeps a rest. Nothing is lost with
        it, and a network of such rests works in denormal numbers, ten times as slow on a CPU.
        """
        if self.descent.average and self.steps:
            for mean in filter(torch.Tensor.numel, self.mean):
                size = mean.abs()
                mean.masked_fill_(size < _REST * size.amax(), 0.0)
            torch._foreach_copy_(list(averaged(model)), self.mean)


def averaged(model: nn.Module) -> Iterable[Tensor]:
    """What is averaged: trainable parameters and floating-point buffers (batch-norm's too)."""
    yield from (p for p in model.parameters() if p.requires_grad)
    yield from (b for b in model.buffers() if b.is_floating_point())


def descend(
    problem: Problem,
    model: nn.Module,
    batch: Batch,
    state: Descending,
    pull: Callable[[], None] | None = None,
) -> Metrics:
    """One gradient step on the objective, in place, over the batch of the whole group.

    Args:
        problem: whose objective is differentiated.
        model: whose parameters move.
        batch: where.
        state: the optimiser.
        pull: has a last word before the step: on ``.grad``, once the loss's own was clipped, or on
            where the step starts.
    """
    loss = problem.objective(model, batch)
    torch.autograd.backward(loss.value * batch.fraction)
    batch.group.all_reduce_([p.grad for p in model.parameters() if p.grad is not None])
    nn.utils.clip_grad_norm_(model.parameters(), state.descent.clip)
    if pull:
        pull()
    for group in state.optimizer.param_groups:
        group["lr"] = state.descent.rate(batch.progress)
    state.optimizer.step()
    state.optimizer.zero_grad()  # now, so that projections have the room
    return {"loss": loss.value.detach(), **loss.metrics}


@torch.no_grad()
def put(weights: dict[str, nn.Parameter], values: Any) -> None:
    """Copy a tree of values into the live weights."""
    for name, parameter in weights.items():
        parameter.copy_(values[name])
