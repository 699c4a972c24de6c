"""Distillation: on adversarial inputs the student matches a robust teacher's clean prediction.

min_w E [ (1 − s) · loss(f_w, x', y) + s · τ² KL( p_T(x) ‖ p_w(x') ) ],   p = softmax(logits / τ)
x' = argmax_{x' ∈ Δ(x)} KL( p_T(x) ‖ p_w(x') ), or of the cross-entropy with the labels

Sources: Hinton et al., 2015, arXiv 1503.02531, for τ; RSLAD (Zi et al., 2021, arXiv 2108.07969, eq.
5) at s = 1, τ = 1, whose weight of 1/6 for the same loss on clean inputs is ``clean`` of the
objective that is distilled. Departure: any `Supervised` objective can be distilled, natural ones
too.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.batch import Batch
from hauberk.objectives.supervised import Supervised, Target, divergence, generalised
from hauberk.problem import Loss, Objective
from hauberk.types import Images, Labels, PerSample


@final
class Teacher:
    """A frozen copy of a network, in eval mode; it is no part of the student or its checkpoint.

    Args:
        net: is copied, in its current state.
        device: of the copy; ``None`` is the device of ``net``.
    """

    def __init__(self, net: nn.Module, device: torch.device | None = None) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False).to(device)
        for t in (*self.net.parameters(), *self.net.buffers()):
            t.data = t.data.contiguous()  # so that a resumed run rounds identically

    @torch.no_grad()
    def __call__(self, x: Images) -> Tensor:
        """The logits, (batch, classes)."""
        logits: Tensor = self.net.to(x.device)(x).float()
        return logits

    def digest(self) -> str:
        """A hash of the weights, which identifies them."""
        found = hashlib.sha256()
        for name, t in self.net.state_dict().items():
            content = t.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            found.update(f"{name} {tuple(t.shape)} {t.dtype} ".encode() + content.numpy().tobytes())
        return found.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Soft(Target):
    """Labels, and a teacher's probabilities.

    Attributes:
        y: class indices.
        logits: the teacher's, (batch, classes).
        fraction: weight of the teacher in the loss, in [0, 1].
        temperature: τ, by which both nets' logits are divided.
        attack: whether the adversary raises the divergence from the teacher; else cross-entropy.
    """

    y: Labels
    logits: Tensor
    fraction: float
    temperature: float
    attack: bool

    def each(self, logits: Tensor, q: float = 0.0) -> PerSample:
        """The mixture; ``q`` saturates the labels' part."""
        soft = self.temperature**2 * self._divergence(logits)
        if self.fraction == 1:
            return soft
        return (1 - self.fraction) * generalised(logits, self.y, q) + self.fraction * soft

    def worst(self, logits: Tensor) -> PerSample:
        """The divergence from the teacher, or the cross-entropy with the labels."""
        if self.attack:
            return self._divergence(logits)
        return F.cross_entropy(logits, self.y, reduction="none")

    def _divergence(self, logits: Tensor) -> PerSample:
        taught, own = self.logits / self.temperature, logits / self.temperature
        return divergence(taught.log_softmax(1), own.log_softmax(1))


@dataclass(frozen=True)
class Distilled(Objective):
    """An objective whose targets are a teacher's soft labels on the batch's clean images.

    Attributes:
        objective: the objective that is distilled; its threat, attack, clean loss and warm-up stay.
        teacher: evaluated once a batch, on the augmented clean images.
        fraction: weight of the teacher in the loss, in (0, 1]; the labels have the rest.
        temperature: τ.
        attack: whether the training attack raises the divergence from the teacher, as in RSLAD;
            else the cross-entropy with the labels, which also has a gradient where a student still
            agrees with its teacher.

    Raises:
        ValueError: for settings outside their range, or an objective that has no target.
    """

    objective: Objective
    teacher: Teacher
    fraction: float = 1.0
    temperature: float = 1.0
    attack: bool = False

    def __post_init__(self) -> None:
        refuse_lesson(self.fraction, self.temperature)
        self._supervised()

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """The objective's loss against the teacher, with the objective's own accuracies."""
        logits = self.teacher(batch.x)
        soft = Soft(batch.y, logits, self.fraction, self.temperature, self.attack)
        return self._supervised().against(model, batch, soft)

    def memory(self) -> dict[str, Tensor]:
        """The inner objective's."""
        return self.objective.memory()

    def searches(self) -> int:
        """As many as the inner objective makes."""
        return self.objective.searches()

    def _supervised(self) -> Supervised:
        if not isinstance(self.objective, Supervised):
            raise ValueError(
                f"A teacher was given for {type(self.objective).__name__}, which compares no "
                "logits with a target; leave the teacher out, or give a Supervised objective."
            )
        return self.objective


def refuse_lesson(fraction: float, temperature: float) -> None:
    """Raise if a teacher's fraction or temperature is outside its range.

    Raises:
        ValueError: naming it.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"teacher_fraction was given as {fraction}; give a fraction in (0, 1].")
    if not 0 < temperature < float("inf"):
        raise ValueError(f"The temperature was given as {temperature}; give a positive number.")
