"""The attacks of an evaluation by name: ``strongest``, ``pgd:40``, or one of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hauberk.attack import Attack
from hauberk.attacks import FGSM, PGD
from hauberk.evaluation.evaluation import Evaluation
from hauberk.runtime.packages import is_place, own
from hauberk.threat import Threat


@dataclass(frozen=True)
class Named:
    """What a name stands for; the fields are those of `Evaluation`.

    Attributes:
        attacks: single attacks, by name.
        autoattack: whether the official AutoAttack runs.
        strongest: whether each of the attacks of `hauberk.evaluation.search` runs.
    """

    attacks: Mapping[str, Attack] = field(default_factory=dict)
    autoattack: bool = False
    strongest: bool = False

    def evaluation(self, threat: Threat, name: str = "") -> Evaluation:
        """An evaluation by these attacks, its other settings at their defaults.

        Args:
            threat: what the adversary may do.
            name: as the user writes it; by default its own.
        """
        return Evaluation(
            threat,
            name or str(threat),
            self.attacks,
            autoattack=self.autoattack,
            strongest=self.strongest,
        )


def named(text: str) -> Named:
    """The attacks that a name stands for.

    Args:
        text: ``strongest``, ``autoattack``, ``pgd:STEPS``, ``fgsm``, or ``package.module:name``: an
            attack, or a class or function that takes no arguments and gives one.

    Raises:
        ValueError: an unknown name, or what has it gives no attack.
    """
    if is_place(text):
        wanted = "a hauberk.attack.Attack, or a function that takes nothing and returns one"
        return Named({text: own(text, Attack, wanted)})  # type: ignore[type-abstract]
    name, _, steps = text.lower().partition(":")
    if name == "strongest" and not steps:
        return Named(strongest=True)
    if name == "autoattack" and not steps:
        return Named(autoattack=True)
    if name == "fgsm" and not steps:
        return Named({text: FGSM(track=True)})
    if name == "pgd" and (not steps or (steps.isdecimal() and int(steps) > 0)):
        return Named({text: PGD(int(steps or 40), track=True)})
    raise ValueError(
        f"The attack {text!r} could not be read; write strongest, autoattack, pgd:STEPS (such as "
        "pgd:40), fgsm, or package.module:Name for one of your own."
    )
