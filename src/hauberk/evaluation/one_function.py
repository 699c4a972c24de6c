"""Is a classifier one function of one image? A figure is its property only if it is.

The same images are asked twice, in another order, one by one, after other batches, and of a fresh
copy. Then with gradients recorded and in inference mode, and between the levels of eight bits: a
network that notices these could answer an attack differently from a user.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hauberk.evaluation.checks.check import Check
from hauberk.evaluation.eight_bits import notices_grid
from hauberk.evaluation.frozen_copy import FrozenCopy
from hauberk.evaluation.subject import Subject
from hauberk.types import Images

_CLOSE, _CLOSE_HALF = 1e-3, 3e-2
"""Differences that rounding may make, relative to the spread of the logits; in half precision."""
_FEW = 0.02
"""Fraction of the images that may differ by more: a network in eight bits may round otherwise."""
_IMAGES = 64


class Expected(nn.Module):
    """The mean of a stochastic network's probabilities over several draws, as logits.

    Args:
        net: to logits; it draws anew in every call.
        draws: number of draws.
    """

    def __init__(self, net: nn.Module, draws: int) -> None:
        super().__init__()
        self.net, self.draws = net, draws

    def forward(self, x: Images) -> Tensor:
        """The logarithm of the mean probabilities, (batch, class)."""
        each = [self.net(x).float().log_softmax(1) for _ in range(self.draws)]
        return torch.stack(each).logsumexp(0)


@dataclass
class OneFunction:
    """The answers of a classifier before it is attacked, and the comparisons with later ones.

    Attributes:
        name: of the classifier, for errors.
        subject: the classifier and its examples.
        draws: over how many draws a stochastic network is judged; 0 if it must not be one.
        differs: how the classifier tells an attack from a user, as clauses.
    """

    name: str
    subject: Subject
    draws: int = 0
    differs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Compare before the attacks.

        Raises:
            ValueError: the answers to an image depend on something else.
        """
        self.x = self.subject.examples.first(_IMAGES).images()
        self._fresh = copy.deepcopy(self.subject.model)
        self._first = self._ask(self.subject.model, self.x)
        if not self.draws:
            self._compare("a second time", self._ask(self.subject.model, self.x), random=True)
            self._compare("in another order", self._ask(self.subject.model, self.x.flip(0)).flip(0))
            alone = [self._ask(self.subject.model, one) for one in torch.split(self.x[:8], 1)]
            self._compare("one by one", torch.cat(alone))
            self.after()
        self._look()

    def after(self) -> None:
        """Compare after the attacks: with the first answers, and with those of a fresh copy.

        Raises:
            ValueError: the network has kept something between the calls.
        """
        if self.draws:
            return
        for size in (1, 7, 64):
            noise = torch.rand(size, *self.x.shape[1:], generator=torch.Generator().manual_seed(1))
            self._ask(self.subject.model, noise.to(self.x.device))
        self._compare("after other batches", self._ask(self.subject.model, self.x))
        self._compare("in a fresh copy", self._ask(copy.deepcopy(self._fresh), self.x))

    def check(self) -> Check:
        """The finding."""
        if self.draws:
            finding = f"The network may draw at random; it was judged by the mean of {self.draws}."
            return Check("one_function", None, finding)
        how = " and ".join(self.differs) or "however it is asked"
        verb = "differ" if self.differs else "are the same"
        return Check.of(
            "one_function",
            not self.differs,
            f"The answers to an image {verb} {how}.",
            {},
            "The network can tell an attack from a user. Every verdict is that of a plain call "
            "without gradients, and attacks by answers alone count; its own gradient is worthless.",
        )

    def _ask(self, model: nn.Module, x: Images) -> Tensor:
        with torch.no_grad():
            logits: Tensor = model(x)
        return logits

    def _compare(self, how: str, logits: Tensor, random: bool = False) -> None:
        if not self._apart(self._first[: len(logits)], logits):
            return
        advice = (
            "take out random draws (dropout is on only if self.training), or give --draws N to "
            "attack and judge the mean of N draws"
            if random
            else "let the logits of an image depend on that image alone, with no state kept "
            "between calls and no statistics of the batch"
        )
        raise ValueError(
            f"{self.name} gives other logits for the same images {how}, so no figure would be its "
            f"own (one_function); {advice}."
        )

    def _apart(self, one: Tensor, other: Tensor) -> bool:
        """Whether more than a few images have other logits."""
        spread = (one.amax(1) - one.amin(1)).nan_to_num(1.0, 1.0, 1.0).median().clamp(min=1e-30)
        close = _CLOSE_HALF if _half(self.subject.model) else _CLOSE
        same = (one - other).abs().amax(1) <= close * spread
        same |= (one == other).all(1) | (one.isnan() & other.isnan()).any(1)
        return float((~same).double().mean()) > _FEW

    def _look(self) -> None:
        """Compare with gradients recorded, in inference mode and off the grid of eight bits."""
        if self.draws:
            return
        with torch.enable_grad():
            seen = self.subject.model(self.x.clone().requires_grad_()).detach()
        with torch.inference_mode():
            inferred = self.subject.model(self.x.clone()).clone()
        if self._apart(self._first, seen):
            self.differs.append("while gradients are recorded")
        if self._apart(self._first, inferred):
            self.differs.append("in inference mode")
        if notices_grid(self.subject):
            self.differs.append("between the levels of eight bits")


def _half(model: FrozenCopy) -> bool:
    """Whether a network computes in half precision."""
    tensors = (*model.inner.parameters(), *model.inner.buffers())
    return any(t.dtype in (torch.float16, torch.bfloat16) for t in tensors)
