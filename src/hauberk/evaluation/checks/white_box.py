"""Checks of the white-box attack itself: more steps, and a radius at which nothing can survive.

Source: Athalye, Carlini and Wagner (2018), arXiv 1802.00420, §3.1. Departure: they let the radius
grow without limit; here it grows until the set of every image holds the same uniform grey. No
classifier can then be right on more examples than carry the label that it gives to grey, so the
bound is exact.
"""

from __future__ import annotations

import torch

from hauberk.attacks import PGD
from hauberk.evaluation.accuracy import under_attack
from hauberk.evaluation.checks.check import Check, deviation, fraction
from hauberk.evaluation.proportion import Mask
from hauberk.evaluation.subject import Subject
from hauberk.threat import Threat
from hauberk.types import Images


def more_steps(subject: Subject, white_box: Mask) -> Check:
    """More steps must not help the defender: the white-box attacks find what PGD-10 finds.

    Args:
        subject: the classifier, examples, threat and seed.
        white_box: mask of the examples that withstood the white-box attacks.
    """
    few, many = fraction(under_attack(subject, PGD(10))), fraction(white_box)
    passed = many <= few + deviation(few, len(subject.examples))
    verb = "no more than" if passed else "more than"
    return Check.of(
        "more_steps",
        passed,
        f"{many:.1%} withstand the white-box attacks, {verb} the {few:.1%} that withstand PGD-10.",
        {"pgd10": few, "white_box": many},
        "Longer attacks do worse, so their gradient misleads them: trust none of the figures that "
        "rest on it.",
    )


def large_radius(subject: Subject) -> Check:
    """Once every image may become the same grey, no net can be right on more than one label."""
    x, y = subject.examples.images(), subject.examples.y
    grey = torch.full_like(x, 0.5)
    threat = _reaching(subject.threat, grey, x)
    if threat is None:
        return Check("large_radius", None, "No radius reaches grey, so this check was not run.")
    with torch.no_grad():
        answer = subject.model(grey[:1]).argmax()
    possible = fraction(y == answer)
    robust = fraction(under_attack(subject.within(threat), PGD(50, track=True)))
    passed = robust <= possible + deviation(possible, len(y))
    verdict = "as it must be" if passed else "so the attack fails"
    return Check.of(
        "large_radius",
        passed,
        f"At radius {threat.radius():.3g} PGD leaves {robust:.1%} correct where at most "
        f"{possible:.1%} can be, {verdict}.",
        {"radius": threat.radius(), "robust": robust, "possible": possible},
        "The gradient does not lead to points that surely exist: PGD's figures mean nothing here; "
        "quote the headline of --attack strongest, as an upper bound.",
    )


def _reaching(threat: Threat, goal: Images, x: Images) -> Threat | None:
    """The threat, grown until every example may become ``goal``; `None` if it never does."""
    for _ in range(60):
        if threat.contains(goal, x):
            return threat
        threat = threat.scaled(1.5)
    return None
