"""What a cut of each layer does to the problem's own loss, measured on training examples.

One layer at a time has its smallest weights cut, or its values rounded to a codebook; the training
attack goes on against the net as it then is. Layers feel the same angle very differently: of a
robust net on MNIST, half of a convolution's kept weights cost less than a tenth of the last
layer's. Nine losses a layer are read, each on all of the examples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from hauberk.allocation.byte_budget import Choice, angles, cut
from hauberk.allocation.distortion import Curve, Harm
from hauberk.allocation.tensors import Packing
from hauberk.attack import frozen
from hauberk.batch import Batch
from hauberk.dataset import Examples
from hauberk.ops.kmeans import kmeans
from hauberk.ops.random import generator
from hauberk.ops.topk import cut_smallest
from hauberk.problem import Objective
from hauberk.runtime.device import laid_out
from hauberk.solvers.descent import put
from hauberk.training.warm_starts import REHEARSALS, WarmStarts

_SHARES = (0.85, 0.65, 0.45, 0.25, 0.1)
"""Of a layer's kept weights, that stay."""
_BITS = (5, 4, 3, 2)
_MORE = 3
"""Attacks on a changed net, which go on from the ends of those on the net itself."""
_TOGETHER = 4.0
"""By how much more rounding counts than was measured: all layers are rounded at once, and trained
so, where each was read alone."""
_BATCH = 256
_LEAST = 0.005
"""What any layer's angle costs at least, of what the dearest one's does on its longest way."""


def measured(
    packing: Packing, objective: Objective, examples: Examples, reuse: bool
) -> dict[str, Harm]:
    """Each tensor's harm, as of the network now, which is left as it was.

    Args:
        packing: the network and the names of its tensors.
        objective: whose loss it is.
        examples: on which it is read, by the objective's attack.
        reuse: whether that attack goes on from where the last one ended.
    """
    place = next(packing.model.parameters()).device
    scale = _Scale(packing.model, objective, examples.to(place), reuse)
    base = scale.settle()
    points = {name: _points(packing, name, scale, base) for name in packing.names}
    ways = [max(each) for both in points.values() for each in both if each]
    least = _LEAST * max([loss / angle for angle, loss in ways if loss > 0], default=1.0)
    return {
        name: Harm(Curve.through(cuts, least), Curve.through(_dearer(rounds), least))
        for name, (cuts, rounds) in points.items()
    }


def mildest(
    packing: Packing,
    plans: Iterable[Mapping[str, Choice]],
    objective: Objective,
    examples: Examples,
    reuse: bool,
) -> Mapping[str, Choice]:
    """``argmin_plan loss(w cut by the plan)``, each tried; the network is left as it was.

    Harms add up what each layer was measured to do alone, on the scale of a leg's cuts; where a
    few weights are to go, of a network that has few, it is the cuts themselves that tell.
    """
    place = next(packing.model.parameters()).device
    scale = _Scale(packing.model, objective, examples.to(place), reuse)
    scale.settle()
    w = {name: t.clone() for name, t in packing.detached.items()}

    def loss(plan: Mapping[str, Choice]) -> float:
        put(packing.weights, cut(w, plan))
        return scale.loss()

    try:
        return min(plans, key=loss)
    finally:
        put(packing.weights, w)


_Points = list[tuple[float, float]]


def _dearer(rounds: _Points) -> _Points:
    return [(angle, _TOGETHER * loss) for angle, loss in rounds]


def _points(packing: Packing, name: str, scale: _Scale, base: float) -> tuple[_Points, _Points]:
    """The (angle, loss above the base) of cuts and of rounded values."""
    live, w = {name: packing.weights[name]}, packing.detached[name].clone()
    alive = int(w.count_nonzero())

    def harm(t: Tensor) -> float:
        put(live, {name: t})
        return scale.loss() - base

    cuts, rounds = [], []
    try:
        for kept in sorted({max(1, round(share * alive)) for share in _SHARES}):
            few = cut_smallest({name: w}, kept, {name: 1.0})[name]
            cuts.append((angles(w, few, few)[0], harm(few)))
        for bits in _BITS:
            coarse = kmeans(w, 1 << bits)
            rounds.append((angles(w, w, coarse)[1], harm(coarse)))
    finally:
        put(live, {name: w})
    return [p for p in cuts if p[0] > 0], [p for p in rounds if p[0] > 0]


class _Scale:
    """Reads the objective on the same examples, with the same random numbers, again and again."""

    def __init__(
        self, model: nn.Module, objective: Objective, examples: Examples, reuse: bool
    ) -> None:
        self.model, self.objective, self.examples = model, objective, examples
        self.warm_starts = WarmStarts(examples, reuse, objective.searches(), examples.y.device)
        self.attacks = _MORE if reuse else 1

    def settle(self) -> float:
        """The net's own loss, once its attacks have ended where they do."""
        for _ in range(REHEARSALS if self.attacks > 1 else 0):
            self._read()
        return self.loss()

    def loss(self) -> float:
        """Of the net as it is; the ends of these attacks are forgotten."""
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
