"""Sensitivity: each layer's `Distortion`, measured by the problem's own loss on training examples.

One layer at a time is pruned to fewer weights or rounded to a codebook, and the training attack
continues against the changed net. The same angle costs layers very differently: of a robust net on
MNIST, half of a convolution's kept weights cost less than a tenth of half of the last layer's.
Each layer takes nine evaluations of the loss, each on all of the examples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from hauberk.allocation.byte_budget import Choice, angles, cut
from hauberk.allocation.distortion import Curve, Distortion
from hauberk.allocation.tensors import CodedTensors
from hauberk.attack import frozen
from hauberk.batch import Batch
from hauberk.dataset import Examples
from hauberk.ops.kmeans import kmeans
from hauberk.ops.random import generator
from hauberk.ops.topk import cut_smallest
from hauberk.problem import Objective
from hauberk.runtime.device import laid_out
from hauberk.runtime.progress import tell
from hauberk.solvers.descent import put
from hauberk.training.warm_starts import REHEARSALS, WarmStarts

_FRACTIONS = (0.85, 0.65, 0.45, 0.25, 0.1)
"""Fractions of a layer's weights to keep when probing its sensitivity."""
_BITS = (5, 4, 3, 2)
_MORE = 3
"""Attacks in a row on a changed net, from warm starts of the unchanged one."""
_TOGETHER = 4.0
"""Factor on the measured loss of rounding: layers are measured one by one, but all are rounded at
once and trained so."""
_BATCH = 256
_LEAST = 0.005
"""Smallest slope of any curve, as a fraction of the steepest one that was measured."""


def measured(
    tensors: CodedTensors, objective: Objective, examples: Examples, reuse: bool
) -> dict[str, Distortion]:
    """Each tensor's distortion for the current network, which is not changed.

    Args:
        tensors: the network and the names of its tensors.
        objective: its loss, at the inputs that its attack finds.
        examples: on which it is measured.
        reuse: whether attacks start from the previous perturbations.
    """
    place = next(tensors.model.parameters()).device
    scale = _Scale(tensors.model, objective, examples.to(place), reuse)
    base = scale.settle()
    points = {}
    for done, name in enumerate(tensors.names):
        tell("measuring layers", done, len(tensors.names))
        points[name] = _points(tensors, name, scale, base)
    ways = [max(each) for both in points.values() for each in both if each]
    least = _LEAST * max([loss / angle for angle, loss in ways if loss > 0], default=1.0)
    return {
        name: Distortion(Curve.through(cuts, least), Curve.through(_dearer(rounds), least))
        for name, (cuts, rounds) in points.items()
    }


def least_distorting(
    tensors: CodedTensors,
    plans: Iterable[Mapping[str, Choice]],
    objective: Objective,
    examples: Examples,
    reuse: bool,
) -> Mapping[str, Choice]:
    """``argmin_plan loss(w compressed by the plan)``, by trying each; the network is not changed.

    Distortions add up what layers cost one by one, at the scale of a stage's pruning. Where a few
    weights of a small network are to be removed, the loss of the plan itself is more accurate.

    Args:
        tensors: the network and the names of its tensors.
        plans: the candidates.
        objective: its loss, at the inputs that its attack finds.
        examples: on which it is measured.
        reuse: whether attacks start from the previous perturbations.
    """
    place = next(tensors.model.parameters()).device
    scale = _Scale(tensors.model, objective, examples.to(place), reuse)
    scale.settle()
    w = {name: t.clone() for name, t in tensors.detached.items()}

    def loss(plan: Mapping[str, Choice]) -> float:
        put(tensors.weights, cut(w, plan, tensors.form.codec.books))
        return scale.loss()

    try:
        return min(plans, key=loss)
    finally:
        put(tensors.weights, w)


_Points = list[tuple[float, float]]


def _dearer(rounds: _Points) -> _Points:
    return [(angle, _TOGETHER * loss) for angle, loss in rounds]


def _points(
    tensors: CodedTensors, name: str, scale: _Scale, base: float
) -> tuple[_Points, _Points]:
    """The (angle, loss above the base) of pruned and of rounded tensors."""
    live, w = {name: tensors.weights[name]}, tensors.detached[name].clone()
    alive = int(w.count_nonzero())

    def distortion(t: Tensor) -> float:
        put(live, {name: t})
        return scale.loss() - base

    cuts, rounds = [], []
    try:
        for kept in sorted({max(1, round(fraction * alive)) for fraction in _FRACTIONS}):
            few = cut_smallest({name: w}, kept, {name: 1.0})[name]
            cuts.append((angles(w, few, few)[0], distortion(few)))
        for bits in _BITS if tensors.form.codec.books else ():
            coarse = kmeans(w, 1 << bits)
            rounds.append((angles(w, w, coarse)[1], distortion(coarse)))
    finally:
        put(live, {name: w})
    return [p for p in cuts if p[0] > 0], [p for p in rounds if p[0] > 0]


class _Scale:
    """Evaluates the objective on the same examples with the same random numbers."""

    def __init__(
        self, model: nn.Module, objective: Objective, examples: Examples, reuse: bool
    ) -> None:
        self.model, self.objective, self.examples = model, objective, examples
        self.warm_starts = WarmStarts(examples, reuse, objective.searches(), examples.y.device)
        self.attacks = _MORE if reuse else 1

    def settle(self) -> float:
        """The loss of the net itself, after its attacks have converged."""
        for _ in range(REHEARSALS if self.attacks > 1 else 0):
            self._read()
        return self.loss()

    def loss(self) -> float:
        """The loss of the net as it is; the warm starts are restored afterwards."""
        before = self.warm_starts.perturbations.clone()
        for _ in range(self.attacks):
            value = self._read()
        self.warm_starts.perturbations.copy_(before)
        return value

    @torch.no_grad()
    def _read(self) -> float:
        total = torch.zeros((), device=self.examples.y.device)
        with frozen(self.model):
            for number, rows in enumerate(self._batches()):
                batch = Batch(
                    laid_out(self.examples.images(rows)),
                    self.examples.y[rows],
                    generator(0, "sensitivity", number, device=rows.device),
                    warm_start=self.warm_starts.at(rows),
                    memory=self._memory(),
                )
                total += len(rows) * self.objective(self.model, batch).value
        return float(total) / len(self.examples)

    def _batches(self) -> Iterator[Tensor]:
        rows = torch.arange(len(self.examples), device=self.examples.y.device)
        return iter(torch.split(rows, _BATCH))

    def _memory(self) -> dict[str, Tensor]:
        device = self.examples.y.device
        return {name: t.to(device) for name, t in self.objective.memory().items()}
