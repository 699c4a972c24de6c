"""Distillation with a discriminator: a generator imitates its teacher, a player tells them apart.

    min_G  ½ E (D(G(x)) − 1)² + β L_dist(G(x), G₀(x))
    max_D  −½ [ E (D(G₀(x)) − 1)² + E D(buffer(G(x)))² ]

The discriminator is the adversary of this problem: it maximises, so it lives here. Each step it
moves first, on the teacher's images and on earlier fakes of a buffer, then the generator's loss is
taken against it. Its weights, its Adam moments and the buffer are the objective's memory: they are
in the checkpoint, and a resumed run goes on to the same bits.

Sources: GAN Slimming (Wang, Gui, Yang, Liu, Wang, ECCV 2020, arXiv 2008.11062), eq. 6; least
squares: Mao et al. (2017, arXiv 1611.04076); the buffer: Shrivastava et al. (2017, arXiv
1612.07828), §2.3.
Departure: the discriminator moves before the generator, not after it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from hauberk.batch import Batch
from hauberk.objectives.distances import Distance, MeanSquared
from hauberk.objectives.distill import Teacher
from hauberk.ops.random import uniform_like
from hauberk.problem import Loss, Objective
from hauberk.types import Images, Scalar

_WEIGHT, _FIRST, _SECOND = "weight.", "first.", "second."
"""Beginnings of names in the memory: the discriminator's parameters and their two moments."""
_WON, _DEAD, _COLLAPSED = 0.005, 1e-4, 0.02
"""Bounds on an epoch's means. Below them the discriminator has won (its loss, ½ at the start and ¼
in equilibrium) or died (the deviation of its scores), or the generator has collapsed (its spread,
as a fraction of the teacher's)."""


@dataclass(frozen=True)
class Adversary:
    """The discriminator: its network, its optimiser, its buffer of earlier fakes.

    Attributes:
        net: its network, as it starts; (batch, …) scores for images.
        shape: of one image, (channel, height, width), for the buffer.
        lr: Adam's step size.
        betas: Adam's decays.
        buffer: fakes that are remembered; 0 shows it the newest alone.

    Raises:
        ValueError: a network with buffers, such as batch-norm's, or a setting outside its range.
    """

    net: nn.Module
    shape: tuple[int, ...]
    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    buffer: int = 50

    def __post_init__(self) -> None:
        if any(True for _ in self.net.buffers()):
            raise ValueError(
                "The discriminator has buffers, such as batch-norm's statistics; give one without, "
                "for instance with instance norms."
            )
        if not self.lr > 0:
            raise ValueError(f"lr was given as {self.lr}; give a positive learning rate.")
        if self.buffer < 0:
            raise ValueError(f"buffer was given as {self.buffer}; give 0 images or more.")

    def memory(self) -> dict[str, Tensor]:
        """Parameters, moments, steps, and an empty buffer."""
        own = {name: p.detach().clone() for name, p in self.net.named_parameters()}
        return {
            **{_WEIGHT + name: p for name, p in own.items()},
            **{_FIRST + name: torch.zeros_like(p) for name, p in own.items()},
            **{_SECOND + name: torch.zeros_like(p) for name, p in own.items()},
            "steps": torch.zeros((), dtype=torch.float32),
            "fakes": torch.zeros(self.buffer, *self.shape),
            "filled": torch.zeros((), dtype=torch.int64),
        }

    def scores(self, memory: Mapping[str, Tensor], x: Images) -> Tensor:
        """Its scores of images, differentiable in them."""
        own = {name: memory[_WEIGHT + name] for name, _ in self.net.named_parameters()}
        found: Tensor = functional_call(self.net, own, (x,))
        return found

    def learn(
        self, memory: Mapping[str, Tensor], real: Images, fake: Images, rng: torch.Generator
    ) -> dict[str, Scalar]:
        """One step of Adam, in the memory; the loss before it, and how much its scores vary.

        Args:
            memory: from `memory`; changed in place.
            real: the teacher's images.
            fake: the generator's, without a graph.
            rng: says which fakes are shown again.
        """
        shown = self.replayed(memory, fake, rng)
        own = {
            name: memory[_WEIGHT + name].detach().clone().requires_grad_()
            for name, _ in self.net.named_parameters()
        }
        with torch.enable_grad():
            right = functional_call(self.net, own, (real,))
            wrong = functional_call(self.net, own, (shown,))
            loss = 0.5 * (F.mse_loss(right, torch.ones_like(right)) + wrong.square().mean())
            grads = torch.autograd.grad(loss, list(own.values()))
        self._step(memory, dict(zip(own, grads, strict=True)))
        scores = torch.cat([right.detach().flatten(), wrong.detach().flatten()])
        return {"discriminator": loss.detach(), "opinion": scores.std(correction=0)}

    @torch.no_grad()
    def _step(self, memory: Mapping[str, Tensor], grads: Mapping[str, Tensor]) -> None:
        """Adam, by torch's own optimiser on the memory's tensors."""
        weights = {name: nn.Parameter(memory[_WEIGHT + name]) for name in grads}
        adam = torch.optim.Adam(weights.values(), lr=self.lr, betas=self.betas)
        for name, p in weights.items():
            p.grad = grads[name]
            adam.state[p] = {
                "step": memory["steps"].clone(),
                "exp_avg": memory[_FIRST + name],
                "exp_avg_sq": memory[_SECOND + name],
            }
        adam.step()
        memory["steps"].add_(1)

    @torch.no_grad()
    def replayed(self, memory: Mapping[str, Tensor], fake: Images, rng: torch.Generator) -> Images:
        """New fakes while the buffer fills; then, for half of them, an earlier one in exchange.

        Args:
            memory: holds the buffer; it is changed.
            fake: the generator's images of this step.
            rng: chooses the images that are exchanged.
        """
        if not self.buffer:
            return fake
        chance, place = uniform_like(fake.new_empty(len(fake), 2), rng).unbind(1)
        fakes, shown = memory["fakes"], fake.clone()
        for row in range(len(fake)):
            filled = int(memory["filled"])
            if filled < self.buffer:
                fakes[filled] = fake[row]
                memory["filled"].add_(1)
            elif chance[row] < 0.5:
                at = int(place[row] * self.buffer)
                shown[row] = fakes[at]
                fakes[at] = fake[row]
        return shown


class Answers:
    """A teacher's outputs, by the content of the image.

    An image that comes back unchanged is looked up. New ones are answered one at a time, so that
    an answer does not depend on what else was in the batch, nor on when a run was resumed.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Tensor] = {}

    def __call__(self, teacher: Teacher, x: Images) -> Tensor:
        """The teacher's outputs for a batch; they are kept on the images' device."""
        return torch.cat([self._one(teacher, image) for image in torch.split(x, 1)])

    def _one(self, teacher: Teacher, image: Images) -> Tensor:
        content = image.detach().cpu().contiguous().numpy().tobytes()
        key = hashlib.blake2b(content, digest_size=16).digest()
        if key not in self._known:
            self._known[key] = teacher(image)
        return self._known[key]


@dataclass(frozen=True)
class Imitation(Objective):
    """A network's outputs should be its teacher's: a distance, and a discriminator if there is one.

    Without a discriminator it is plain distillation, for generators and for classifiers.

    Attributes:
        teacher: G₀, frozen.
        distance: L_dist.
        adversary: the discriminator; none leaves the GAN term out.
        beta: β, the weight of the distance against the GAN term.
        answers: keeps the teacher's outputs; without it they are computed for each batch.

    Raises:
        ValueError: a negative weight.
    """

    teacher: Teacher
    distance: Distance = field(default_factory=MeanSquared)
    adversary: Adversary | None = None
    beta: float = 20.0
    answers: Answers | None = None

    def __post_init__(self) -> None:
        if not self.beta >= 0:
            raise ValueError(f"beta was given as {self.beta}; give 0 or more.")

    def memory(self) -> dict[str, Tensor]:
        """The discriminator's."""
        return self.adversary.memory() if self.adversary else {}

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """The generator's loss; a training step updates the discriminator first.

        Raises:
            ValueError: a discriminator, and several processes.
        """
        wanted, output = self._wanted(batch.x), model(batch.x).float()
        distance = self.distance(output, wanted)
        metrics = {"distance": distance.detach()}
        if self.adversary is None:
            return Loss(distance, metrics)
        memory = batch.memory or self.memory()
        if batch.step is not None:
            if batch.group.size > 1:
                raise ValueError(
                    f"A discriminator is trained in one process, and there are {batch.group.size}; "
                    "leave --devices and torchrun out."
                )
            metrics |= self.adversary.learn(memory, wanted, output.detach(), batch.rng)
        scores = self.adversary.scores(memory, output)
        fooled = 0.5 * F.mse_loss(scores, torch.ones_like(scores))
        metrics |= {"gan": fooled.detach(), "spread": _spread(output, wanted)}
        return Loss(fooled + self.beta * distance, metrics)

    def _wanted(self, x: Images) -> Tensor:
        return self.answers(self.teacher, x) if self.answers else self.teacher(x)

    def failure(self, metrics: Mapping[str, float]) -> str | None:
        """A discriminator that wins at once or that has died, or a generator that has collapsed."""
        if metrics.get("spread", 1.0) < _COLLAPSED:
            return (
                f"collapsed: its outputs differ from image to image {metrics['spread']:.1%} as "
                "much as the teacher's. Try a larger --beta, or a smaller --strength or --lr."
            )
        if "discriminator" not in metrics:
            return None
        if metrics["opinion"] < _DEAD:
            return (
                "has a dead discriminator: it gives every image the score of every other (standard "
                f"deviation {metrics['opinion']:.1e}). Try more filters (--discriminator), or "
                "leave it out with --discriminator 0."
            )
        if metrics["discriminator"] < _WON:
            return (
                "has a discriminator that has won: its loss is "
                f"{metrics['discriminator']:.4f}, so the generator learns nothing from it. Try "
                "fewer filters (--discriminator), a larger --buffer or more --bits."
            )
        return None


@torch.no_grad()
def _spread(output: Tensor, wanted: Tensor) -> Tensor:
    """The mean deviation of outputs over the batch, as a fraction of the teacher's.

    It falls to nothing when a mode collapses; for a single image it is 1.
    """
    own, theirs = (x.std(0, correction=0).mean() for x in (output, wanted))
    return torch.where(theirs > 0, own / theirs, torch.ones_like(own))
