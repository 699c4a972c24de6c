"""The attacks of an evaluation by name: ``pgd:40``, ``fgsm``, ``autoattack``."""

from __future__ import annotations

from hauberk.attack import Attack
from hauberk.attacks import FGSM, PGD


def named(text: str) -> Attack | None:
    """The attack that a name stands for; ``None`` for AutoAttack, which is a set of attacks.

    Raises:
        ValueError: an unknown name.
    """
    name, _, steps = text.lower().partition(":")
    if name == "autoattack" and not steps:
        return None
    if name == "fgsm" and not steps:
        return FGSM(track=True)
    if name == "pgd" and (not steps or (steps.isdecimal() and int(steps) > 0)):
        return PGD(int(steps or 40), track=True)
    raise ValueError(
        f"The attack {text!r} could not be read; write pgd:STEPS (such as pgd:40), fgsm "
        "or autoattack."
    )
