"""The attacks of an evaluation by name: ``strongest``, ``pgd:40``, or one of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hauberk.attack import Attack
from hauberk.attacks import FGSM, PGD
from hauberk.runtime.packages import find, gist, is_place


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

    Args:
        text: ``strongest``, ``autoattack``, ``pgd:STEPS``, ``fgsm``, or ``package.module:name``: an
            attack, or a class or function that takes no arguments and gives one.

    Raises:
        ValueError: an unknown name, or what has it gives no attack.
    """
    if is_place(text):
        return Named({text: _own(text)})
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


def _own(place: str) -> Attack:
    found = find(place)
    try:
        made = found if isinstance(found, Attack) else found()
    except Exception as error:  # a user's function may fail in any way
        raise ValueError(
            f"The attack {place} could not be made ({type(error).__name__}: {gist(error)}); give a "
            "hauberk.attack.Attack, or a class or function that takes no arguments and gives one."
        ) from error
    if not isinstance(made, Attack):
        raise ValueError(
            f"{place} gave an object of type {type(made).__name__}; give a hauberk.attack.Attack, "
            "or a class or function that takes no arguments and gives one."
        )
    return made
