"""The cost of early exits: multiply-accumulates per image, and those an adversary can force.

    cost(x) = Σ_{t ≤ T(x)} MACs(h_t),   T(x) = the members that x needs

Two attacks: on the answer, as always, and on the time, which maximises −Σ_t min(gap_t(x), θ_t): an
image stops early only where a gap is large. Both are measured, so they are lower bounds on the cost
that an adversary can force; the cost of all members is an upper bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.attack import Attack, frozen
from hauberk.dataset import Examples
from hauberk.evaluation.cost import macs
from hauberk.models.early_exit import EarlyExit, gap
from hauberk.models.ensemble import Ensemble
from hauberk.ops.random import generator
from hauberk.threat import Threat
from hauberk.types import Images, Labels, PerSample

_BATCH = 500


@dataclass(frozen=True)
class ExitCost:
    """Dense multiply-accumulates per image.

    Attributes:
        full: of all members.
        clean: mean on clean images.
        attacked: mean on images that were attacked for a wrong answer.
        delayed: mean on images that were attacked for the time.
        changed: fraction of all these images whose answer differs from the whole sum's.
    """

    full: int
    clean: float
    attacked: float
    delayed: float
    changed: float

    def json(self) -> dict[str, float]:
        """The attributes by name."""
        return dict(vars(self))

    def sentence(self) -> str:
        """The fractions of the full work, in one line."""
        clean, attacked, delayed = (
            f"{100 * mean / self.full:.0f}%" for mean in (self.clean, self.attacked, self.delayed)
        )
        return (
            f"Early exits need {clean} of {self.full:,} multiplications on clean images, "
            f"{attacked} under attack and {delayed} under an attack on the time; "
            f"{self.changed:.1%} of the answers change."
        )


def exits_of(
    model: nn.Module | None, examples: Examples, threat: Threat, attack: Attack
) -> ExitCost | None:
    """The cost of a network that has exits: a sum of networks whose spreads are limited.

    Args:
        model: the network; one without exits gives None.
        examples: the images.
        threat: what the adversary may do.
        attack: how it searches.
    """
    if not isinstance(model, Ensemble) or model.spread is None:
        return None
    return exit_cost(EarlyExit.bounded(model), examples, threat, attack)


def exit_cost(net: EarlyExit, examples: Examples, threat: Threat, attack: Attack) -> ExitCost:
    """Measure early exits on images, clean and attacked.

    Args:
        net: is left as it was.
        examples: the images, on the device of the network.
        threat: what the adversary may do.
        attack: how it searches, for a wrong answer and for the time.
    """
    each = torch.tensor([macs(m, examples.shape).dense for m in net.ensemble.members])
    cumulative = each.double().cumsum(0)
    names, totals, changed = ("clean", "attacked", "delayed"), [0.0] * 3, 0.0
    with frozen(net), torch.no_grad():
        for number, (x, y) in enumerate(examples.batches(_BATCH)):
            for kind, images in enumerate(_images(net, x, y, threat, attack, number)):
                logits, used = net.run(images)
                totals[kind] += float(cumulative[used.cpu() - 1].sum())
                changed += int((logits.argmax(1) != net.ensemble(images).argmax(1)).sum())
    means = {name: total / len(examples) for name, total in zip(names, totals, strict=True)}
    return ExitCost(int(cumulative[-1]), **means, changed=changed / (3 * len(examples)))


def _images(
    net: EarlyExit, x: Images, y: Labels, threat: Threat, attack: Attack, number: int
) -> Iterator[Images]:
    """Clean, attacked for a wrong answer of the whole sum, attacked for the time."""
    yield x
    losses: tuple[Callable[[Images], PerSample], ...] = (
        lambda x_adv: F.cross_entropy(net.ensemble(x_adv), y, reduction="none"),
        lambda x_adv: -_gaps(net, x_adv),
    )
    for kind, loss in enumerate(losses):
        rng = generator(0, "early exit", number, kind, device=x.device)
        yield attack(loss, x, threat, rng)


def _gaps(net: EarlyExit, x: Images) -> PerSample:
    """``Σ_t min(gap_t, θ_t)``."""
    so_far: Tensor = net.ensemble.part(0, x)
    total = torch.zeros(len(x), device=x.device)
    for number, least in enumerate(net.gaps, start=1):
        total = total + gap(so_far).clamp(max=least)
        so_far = so_far + net.ensemble.part(number, x)
    return total
