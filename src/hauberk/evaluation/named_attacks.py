"""The attacks of an evaluation by name: ``strongest``, ``autoattack``, ``pgd:40``, ``fgsm``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hauberk.attack import Attack
from hauberk.attacks import FGSM, PGD


@dataclass(frozen=True)
class Named:
    """What a name stands for; the fields are those of `Evaluation`.

    Attributes:
        attacks: single attacks, by name.
        autoattack: whether the official AutoAttack runs.
        strongest: whether every attack that hauberk has runs.
    """

    attacks: Mapping[str, Attack] = field(default_factory=dict)
    autoattack: bool = False
    strongest: bool = False


def named(text: str) -> Named:
    """The attacks that a name stands for.

    Raises:
        ValueError: an unknown name.
    """
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
        "pgd:40) or fgsm."
    )
