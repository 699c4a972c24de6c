"""The start of a run that begins with trained weights: how robust they are, said before training.

No method makes a small network robust in its few epochs whose start is not.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import torch
from torch import nn

from hauberk.attacks import PGD
from hauberk.dataset import Data
from hauberk.evaluation.accuracy import under_attack
from hauberk.evaluation.proportion import Proportion
from hauberk.evaluation.subject import Subject
from hauberk.threat import Threat

STEPS = 10
"""Steps of the attack."""
_LIMIT, _PIECE = 256, 32  # validation images, and those of a batch
_SECONDS = 15.0  # no batch begins later


@dataclass(frozen=True)
class StartingPoint:
    """What trained weights can do before a training.

    Attributes:
        clean: accuracy on validation images.
        robust: the same under PGD with `STEPS` steps.
        chance: accuracy of a guess.
        threat: as text.
    """

    clean: Proportion
    robust: Proportion
    chance: float
    threat: str

    @classmethod
    def of(cls, model: nn.Module, data: Data, threat: Threat, place: torch.device) -> StartingPoint:
        """Measure a network on a few hundred validation images.

        Args:
            model: trained; it is left untouched.
            data: with at least one validation image.
            threat: what the adversary may do.
            place: where to compute.
        """
        examples, model = data.validation.first(_LIMIT).to(place), model.to(place)
        clean, robust, began = 0, 0, time.monotonic()
        for start in range(0, len(examples), _PIECE):
            if start and time.monotonic() > began + _SECONDS:
                break
            part = slice(start, start + _PIECE)
            some = type(examples)(examples.x[part], examples.y[part])
            subject = Subject.of(model, some, threat)
            clean += int(subject.clean.sum())
            robust += int(under_attack(subject, PGD(STEPS)).sum())
            count = start + len(some)
        found = Proportion(clean, count), Proportion(robust, count)
        short = re.sub(r"\d+\.\d{5,}", lambda m: f"{float(m[0]):.4g}", str(threat))
        return cls(*found, 1 / data.classes, short)

    @property
    def natural(self) -> bool:
        """Whether the weights were surely trained, and surely not adversarially."""
        return self.robust.accuracy <= self.chance < self.clean.accuracy / 2

    def line(self, compresses: bool) -> str:
        """One line for the user.

        Args:
            compresses: whether the run compresses; else it trains on.
        """
        found = (
            f"The start classifies {self.clean.accuracy:.1%} of {self.clean.n} validation images, "
            f"and {self.robust.accuracy:.1%} under PGD with {STEPS} steps ({self.threat})"
        )
        if self.clean.accuracy <= 1.5 * self.chance:
            return f"{found}, where a guess is right on {self.chance:.1%}: are these its classes?"
        if self.robust.accuracy > max(self.chance, self.clean.accuracy / 2):
            return f"{found}."
        advice = (
            "train it adversarially first (hauberk train --from FILE with the same --threat, such "
            "as --epochs 30 --warmup 0.2), and compress the result"
            if compresses
            else "it is trained adversarially now, where --warmup 0.2 and more --epochs help"
        )
        return f"{found}: it is not robust; {advice}."
