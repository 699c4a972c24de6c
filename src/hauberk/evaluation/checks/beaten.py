"""Checks that no other attack succeeds where the white-box ones fail.

Every image that any attack fools is gone from the headline. These checks ask another question: is
the gradient of use? On an honest net with a rugged loss (max pooling, few training steps) a search
by scores still finds a few images that no gradient step found. On a masked one it finds most of
them. So a check fails if the attack takes more than a fifth of the examples that it was tried on,
beyond chance (the lower end of Wilson's 95% interval).
"""

from __future__ import annotations

from hauberk.evaluation.checks.check import Check
from hauberk.evaluation.proportion import Mask, Proportion
from hauberk.evaluation.trials import MUCH, Taken

ATTACKS = {
    "straight_through": ("bypass", "A white-box attack with an approximated backward pass"),
    "eight_bits": ("eight_bits", "A white-box attack at images of eight bits"),
    "transfer": ("transfer", "PGD on the dense net"),
    "student": ("student", "PGD on a student of the answers"),
    "black_box": ("square", "Square, which uses no gradient,"),
    "decision": ("decision", "An attack that sees answers alone"),
}
"""By check, its attack, and that in words."""


def gap(white_box: Mask, left: Mask) -> Check:
    """Whether all attacks together fool much of what the white-box attacks left.

    Args:
        white_box: mask of the examples that the white-box attacks left.
        left: mask of those that all attacks left.
    """
    before, after = int(white_box.sum()), int(left.sum())
    taken = Taken(before, before - after)
    return Check.of(
        "gap",
        not taken.much,
        f"The white-box attacks leave {before} of {len(left)} examples, all attacks {after}; on an "
        f"honest net the others find up to {MUCH:.0%} of what these leave.",
        {"white_box": before / len(left), "all": after / len(left)},
        "PGD and AutoAttack's gradient steps are too weak for this network: quote the headline, "
        "never their figures.",
    )


def beaten(name: str, taken: Taken | None, why: str | None) -> Check:
    """Whether an attack fools much of what the white-box attacks and those before it left.

    Args:
        name: of the check.
        taken: the record of the attack.
        why: it did not run, as a sentence.
    """
    words = ATTACKS[name][1]
    if taken is None or not taken.tried:
        words = words.removesuffix(",")
        return Check(name, None, f"{words} was not tried: {why or 'no example was left.'}")
    found = Proportion(taken.count, taken.tried)
    return Check.of(
        name,
        not taken.much,
        f"{words} fools {found.accuracy:.1%} of the {found.n} examples on which all earlier "
        f"attacks failed; of an honest net up to {MUCH:.0%}.",
        {"broken": found.accuracy, "tried": float(found.n)},
        "The network's own gradient hides them. The headline counts them as lost; figures of PGD "
        "and AutoAttack alone are too high.",
    )
