"""Audit: a longer search, every so often, for what the training attacks of several threats miss.

A training attack of few steps finds a lower bound of each threat's loss F_i, and a loose one for
some threats: next to ℓ∞ it underestimates ℓ1, where half of the examples that withstand it are
fooled by a longer search, and min-max would then put weight on the wrong threat. This is a
departure from Wang et al., 2021, arXiv 1906.03563: the gap that an audit measures is added to the
losses that the weights follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hauberk.attack import Attack
from hauberk.attacks import PGD
from hauberk.batch import Batch
from hauberk.threat import Threat
from hauberk.types import Images, SampleLoss

_GAPS = "missed"


@dataclass(frozen=True)
class Audit:
    """A longer search on one batch of many; for a single threat there is none.

    The batch is trained on what the search finds, and warm starts continue from there.

    Attributes:
        every: steps from one audit to the next; 0 is never.
        attack: the search; by default a random start, in ℓ1 from outside the ball.

    Raises:
        ValueError: a negative number of steps.
    """

    every: int = 16
    attack: Attack = field(default_factory=lambda: PGD(20, track=True))

    def __post_init__(self) -> None:
        if self.every < 0:
            raise ValueError(f"audit was given as {self.every}; give 0 (never) or more steps.")

    def due(self, batch: Batch, threats: int) -> bool:
        """Whether this step has an audit; steps without training have none."""
        step = batch.step
        return self._applies(threats) and step is not None and step % self.every == 0

    def memory(self, threats: int) -> dict[str, Tensor]:
        """By how much the last audit's losses were above the training attack's: at first 0."""
        return {_GAPS: torch.zeros(threats)} if self._applies(threats) else {}

    def gaps(self, batch: Batch, threats: int) -> Tensor | float:
        """The gaps to add to the losses of this step; an audited batch has the true losses."""
        return 0.0 if self.due(batch, threats) else batch.memory.get(_GAPS, 0.0)

    @torch.no_grad()
    def search(
        self,
        loss: SampleLoss,
        batches: Sequence[Batch],
        threats: Sequence[Threat],
        found: Sequence[Images],
    ) -> list[Images]:
        """The worse of the training attack's result and the longer search's, per example.

        Args:
            loss: raised by both.
            batches: the batch as each threat's attack sees it, with that threat's warm starts.
            threats: the sets that are searched.
            found: what the training attacks found.
        """
        worst, gaps = list[Images](), dict[str, Tensor]()
        for batch, threat, x_adv in zip(batches, threats, found, strict=True):
            longer = self.attack(loss, batch.x, threat, batch.rng)
            before, after = loss(x_adv), loss(longer)
            worse = after > before
            worst.append(torch.where(worse.view(-1, *[1] * (batch.x.ndim - 1)), longer, x_adv))
            gaps[str(len(gaps))] = (after - before).clamp(min=0).mean()
            if batch.warm_start:
                batch.warm_start.keep(worst[-1], batch.x, threat.radius())
        whole = batches[0].group.mean(gaps, batches[0].fraction)
        if _GAPS in batches[0].memory:
            batches[0].memory[_GAPS].copy_(torch.stack(list(whole.values())))
        return worst

    def _applies(self, threats: int) -> bool:
        return self.every > 0 and threats > 1
