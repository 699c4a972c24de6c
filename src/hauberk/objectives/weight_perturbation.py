"""Adversarial weight perturbation: the loss at the worst weights nearby, for flat minima.

min_w max_{‖v_l‖ ≤ γ ‖w_l‖} E max_{x' ∈ Δ(x)} loss(f_{w+v}, x', y),    l over the weight tensors

Source: Wu, Xia and Wang, NeurIPS 2020, arXiv 2004.05884, eq. 10 and 11: x' is found at w; v is one
step along each tensor's gradient there, to the boundary of its ball. Departure: zero weights are
not perturbed, since the file does not hold them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hauberk.batch import Batch
from hauberk.objectives.supervised import Supervised, Target
from hauberk.problem import Loss
from hauberk.types import Images


@dataclass(frozen=True)
class WeightPerturbed(Supervised):
    """The objective evaluated at adversarially perturbed weights; attacks use the unperturbed ones.

    Without gradients, as on validation images, the weights are not perturbed.

    Attributes:
        objective: evaluated there.
        gamma: γ, how far in each tensor, in its own norm; the paper's 0.005 is usual.

    Raises:
        ValueError: for a γ outside (0, 1).
    """

    objective: Supervised
    gamma: float = 0.005

    def __post_init__(self) -> None:
        refuse_perturbation(self.gamma)

    def attacked(self, model: nn.Module, batch: Batch, target: Target) -> Sequence[Images]:
        """As without perturbation."""
        return self.objective.attacked(model, batch, target)

    def loss_at(
        self, model: nn.Module, x_adv: Sequence[Images], batch: Batch, target: Target
    ) -> Loss:
        """The loss at ``w + v``; its gradient there is the weights' own."""
        if torch.is_grad_enabled():
            model = _Elsewhere(model, self._worst(model, x_adv, batch, target))
        return self.objective.loss_at(model, x_adv, batch, target)

    def memory(self) -> dict[str, Tensor]:
        """The objective's."""
        return self.objective.memory()

    def searches(self) -> int:
        """As many as the objective makes."""
        return self.objective.searches()

    def _worst(
        self, model: nn.Module, x_adv: Sequence[Images], batch: Batch, target: Target
    ) -> dict[str, Tensor]:
        """``w + v`` by name; statistics and the objective's memory are as they were before."""
        own = {n: p for n, p in model.named_parameters() if p.requires_grad and p.ndim > 1}
        aside = {n: b.clone() for n, b in model.named_buffers()}
        looked = replace(batch, memory={n: t.clone() for n, t in batch.memory.items()})
        loss = self.objective.loss_at(_Elsewhere(model, aside), x_adv, looked, target)
        grads = list(
            torch.autograd.grad(
                loss.value * batch.fraction, list(own.values()), materialize_grads=True
            )
        )
        with torch.no_grad():
            batch.group.all_reduce_(grads)
            away = [self._step(p, g) for p, g in zip(own.values(), grads, strict=True)]
        return {n: p + v for (n, p), v in zip(own.items(), away, strict=True)}

    def _step(self, w: Tensor, grad: Tensor) -> Tensor:
        """``γ ‖w‖ g / ‖g‖`` over the weights that are not zero; nothing where ``g`` is nothing."""
        grad = grad * (w != 0)
        length: Tensor = self.gamma * w.norm() / grad.norm().clamp(min=1e-30)
        return grad * length


class _Elsewhere(nn.Module):
    """A network with other tensors in the place of some of its own, while it is called."""

    def __init__(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.model, self.tensors = model, dict(tensors)

    def forward(self, x: Images) -> Tensor:
        logits: Tensor = functional_call(self.model, self.tensors, (x,))
        return logits


def refuse_perturbation(gamma: float) -> None:
    """Raise if weights cannot be moved by this fraction of their norm.

    Raises:
        ValueError: naming it.
    """
    if not 0 < gamma < 1:
        raise ValueError(
            f"The weight perturbation was given as {gamma}; give a fraction in (0, 1), or leave it "
            "out."
        )
