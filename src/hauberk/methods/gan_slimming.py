"""GAN Slimming: prune channels and quantise while a network imitates its dense self.

    min_{W,γ} max_θ  L_GAN(G̃_{W,γ}, D_θ) + β L_dist(G̃(x), G₀(x)) + ρ Σ_g ‖γ_g‖₂   s.t.  W on a grid

γ are the scales of affine norms, G̃ rounds what its layers take in, G₀ is the dense network and θ
the discriminator's. One solve prunes, quantises and distils; then the channels whose scales are
zero are removed, and the small network is tuned without the penalty. With ``saliency`` ρ is
weighted by channel: under AdamW every scale is pulled at the same rate, and in a short run all of
a large generator's scales reach zero together.

Source: Wang, Gui, Yang, Liu and Wang, ECCV 2020, arXiv 2008.11062. Departures: the scales of one
residual trunk are one group each, so that a channel of the trunk can be removed; the penalty is
applied by its prox with AdamW's learning rate, as in `hauberk.methods.reweighted`; weights reach
the grid by lazy projection; activations have 256 levels with a zero point, signed where the tensor
is; the discriminator starts anew for the tuning. Without a discriminator the method slims a
classifier by its logits.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import nn

from hauberk.constraints import FixedGrid, On, UniformGrid
from hauberk.dataset import Examples
from hauberk.method import Compression
from hauberk.methods._saliency import rarity
from hauberk.methods._structured import Pruning, refuse_emptied
from hauberk.objectives import Adversary, Distance, Imitation, MeanSquared, Teacher
from hauberk.objectives.discriminator import patch_discriminator
from hauberk.objectives.gan import Answers
from hauberk.ops.groups import Filter
from hauberk.ops.ties import Families, join
from hauberk.parametrize import quantise, unquantise
from hauberk.penalties import GroupLasso, TiedPenalty
from hauberk.penalties.checks import refuse_strength
from hauberk.problem import Problem, Structure
from hauberk.recipe import Distillation, GridPackaging
from hauberk.slimming.slim import shrink
from hauberk.solvers import ProjectedGradient
from hauberk.threat import Threat
from hauberk.training.stage import Stage


@dataclass(frozen=True, kw_only=True)
class GANSlimming(Compression):
    """Distillation, channel pruning and quantisation in one solve, then tuning.

    Attributes:
        slim_epochs: passes under the penalty; ``epochs`` are those of the tuning.
        strength: ρ, as a fraction of the largest step of a scale: a scale goes to zero unless the
            loss pulls at it more evenly; 0 prunes nothing.
        saliency: number of images that tell how much the outputs depend on each channel; ρ of a
            channel is then multiplied by its family's mean of that over its own, so that channels
            are removed in the order of their worth. 0 weighs all channels alike.
        remember: keep the teacher's output for each training image; it costs memory, and saves
            time where images come back unchanged.
        scale_lr: learning rate of the scales, as a multiple of ``lr``: they have far to go.
        bits: of a weight on its uniform grid, 2 to 8, with activations in 8; 0 keeps float32.
        beta: β, weight of the distance to the dense network's outputs relative to the GAN term.
        discriminator: filters of the discriminator's first layer; 0 uses no discriminator.
        levels: halvings of the discriminator.
        buffer: number of earlier outputs that the discriminator sees again.
        distance: L_dist.
    """

    needs_labels: ClassVar[bool] = False

    slim_epochs: int = 20
    strength: float = 0.3
    saliency: int = 0
    remember: bool = False
    scale_lr: float = 10.0
    bits: int = 8
    beta: float = 20.0
    discriminator: int = 0
    levels: int = 3
    buffer: int = 50
    distance: Distance = field(default_factory=MeanSquared, metadata={"flag": None})
    packaging: GridPackaging = GridPackaging(slim=True)

    def __post_init__(self) -> None:
        refuse_strength(self.strength)
        if self.bits and not 2 <= self.bits <= 8:
            raise ValueError(f"bits was given as {self.bits}; give 2 to 8, or 0 for float32.")
        counts = ("slim_epochs", "saliency", "discriminator", "buffer")
        least = {**dict.fromkeys(counts, 0), "levels": 1}
        for name, count in least.items():
            if getattr(self, name) < count:
                raise ValueError(
                    f"{name} was given as {getattr(self, name)}; give {count} or more."
                )
        if not self.scale_lr > 0:
            raise ValueError(f"scale_lr was given as {self.scale_lr}; give a positive multiple.")
        if not self.beta >= 0:
            raise ValueError(f"beta was given as {self.beta}; give 0 or more.")
        if replace(self.distillation, teacher="") != Distillation():
            raise ValueError(
                "GAN slimming was given settings of soft labels, and it imitates its teacher's "
                "outputs; leave out all but teacher."
            )

    def dense(self, threat: Threat) -> Iterator[Stage]:
        """Train the dense network, unless it imitates a teacher from its first step."""
        if not self.distillation.teacher:
            yield from super().dense(threat)

    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        """Imitation under the penalty; then tuning of the channels that are left."""
        example, objective = sample.images(slice(1)), self._imitation(model, sample)
        ties = Pruning("bn-filter").tied(model, example) if self.strength else ()
        slimming = self._slimming(model, objective, ties, sample)
        rates = {name: self.scale_lr for tie in ties for name in tie}
        self._rounded(model, sample)
        yield self.stage("slim", slimming, self._solver(1.0, rates), self.slim_epochs)
        unquantise(model)
        refuse_emptied(Problem(objective, select=self.select).weights(model))
        shrink(model, example)
        tuning = Problem(objective, self._grid(model), select=self.select)
        self._rounded(model, sample)
        yield self.stage("tune", tuning, self._solver(0.5, {}), self.optimisation.epochs)
        unquantise(model)

    def _imitation(self, model: nn.Module, sample: Examples) -> Imitation:
        adversary = None
        if self.discriminator:
            shape = _output_shape(model, sample)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                net = patch_discriminator(self.discriminator, self.levels, shape[0])
            adversary = Adversary(net, shape, buffer=self.buffer)
        answers = Answers() if self.remember else None
        return Imitation(Teacher(model), self.distance, adversary, self.beta, answers)

    def _slimming(
        self, model: nn.Module, objective: Imitation, ties: Families, sample: Examples
    ) -> Problem:
        scales = [name for tie in ties for name in tie]
        names = [*self.select(model), *scales]
        structures: dict[str, Structure] = dict(self._grid(model))
        if ties:
            every = dict(model.named_parameters())
            tree = join({name: every[name] for name in scales}, ties)
            lasso = GroupLasso.static(self.strength * self.scale_lr, Filter(), tree)
            if self.saliency:
                rare = rarity(model, ties, sample.images(slice(self.saliency)))
                factors = {n: f * rare[n].view_as(f) for n, f in lasso.factors.items()}
                lasso = replace(lasso, factors=factors)
            structures["scales"] = TiedPenalty(lasso, ties)
        return Problem(objective, structures, select=lambda _: names)

    def _grid(self, model: nn.Module) -> dict[str, On]:
        if not self.bits:
            return {}
        every, names = dict(model.named_parameters()), self.select(model)
        grid = FixedGrid.of(UniformGrid(self.bits), {name: every[name] for name in names})
        return {"grid": On(grid, frozenset(names))}

    def _solver(self, fraction: float, rates: dict[str, float]) -> ProjectedGradient:
        """Lazy where there is a grid: steps smaller than its spacing must add up.

        No average of weights is taken: one of a scale that became zero would not be zero.
        """
        descent = replace(self.optimisation.descent(fraction), average=0.0, multiples=rates)
        return ProjectedGradient(descent, lazy=bool(self.bits))

    def _rounded(self, model: nn.Module, sample: Examples) -> None:
        if self.bits:
            quantise(model, sample.images())


@torch.no_grad()
def _output_shape(model: nn.Module, sample: Examples) -> tuple[int, ...]:
    """The shape of one output, which the discriminator takes.

    Raises:
        ValueError: outputs that are no images.
    """
    device = next(model.parameters()).device
    shape = tuple(copy.deepcopy(model).eval()(sample.images(slice(1)).to(device)).shape[1:])
    if len(shape) != 3:
        raise ValueError(
            f"A discriminator judges images, and the network gives outputs of shape {shape}; give "
            "--discriminator 0 to distil without one."
        )
    return shape
