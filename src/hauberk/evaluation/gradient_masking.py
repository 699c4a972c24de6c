"""Checks for gradient masking: is a network robust, or is its gradient of no use to the attack?

Each check states a property of every network whose robustness is real. Sources: Athalye, Carlini
and Wagner (2018), arXiv 1802.00420, §3.1; Carlini et al. (2019), arXiv 1902.06705, §4 and §5.
Departure: they let the radius grow without limit; here it grows until the set of every image holds
the same uniform grey. No classifier can then be right on more examples than carry the label that it
gives to grey, so the bound is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.attack import input_gradient
from hauberk.attacks import PGD
from hauberk.evaluation.accuracy import (
    Progress,
    cross_entropy,
    margin,
    silent,
    transferred,
    under_attack,
)
from hauberk.evaluation.autoattack import refusal, square
from hauberk.evaluation.proportion import Mask
from hauberk.evaluation.subject import Subject
from hauberk.threat import Threat
from hauberk.types import Images, SampleLoss

_MOST_FOOLED = 0.03
"""Fraction of the examples that another attack may fool although the white-box one failed."""
_ZERO = 0.01
"""Fraction of the correct examples that may have an input gradient of exactly zero."""


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: of the check.
        passed: ``None`` if the check could not run.
        sentence: the finding, in words.
        values: the figures behind it, fractions in [0, 1].
    """

    name: str
    passed: bool | None
    sentence: str
    values: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def from_json(name: str, found: Mapping[str, Any]) -> Check:
        """The check that `json` wrote.

        Raises:
            KeyError: it is no such object.
        """
        return Check(name, found["passed"], found["sentence"], found["values"])

    def json(self) -> dict[str, Any]:
        """``{"passed", "sentence", "values"}``."""
        return {"passed": self.passed, "sentence": self.sentence, "values": dict(self.values)}


def run_checks(
    subject: Subject,
    *,
    source: nn.Module | None = None,
    queries: int = 1000,
    progress: Progress = silent,
) -> tuple[Check, ...]:
    """All checks for gradient masking.

    Args:
        subject: the classifier, examples (some hundreds are enough), threat and seed.
        source: the net from which adversarial examples are transferred, such as the dense one.
        queries: of the black-box search, for each example.
        progress: called with the checks done.
    """
    white_box = cache(lambda: under_attack(subject, PGD(100, track=True)))  # the attack in doubt
    checks: tuple[Callable[[], Check], ...] = (
        lambda: more_steps(subject, white_box()),
        lambda: gradients(subject),
        lambda: black_box(subject, white_box(), queries),
        lambda: transfer(subject, white_box(), source),
        lambda: large_radius(subject),
    )
    results = []
    for done, check in enumerate(checks):
        progress(done, len(checks), "checks for gradient masking")
        results.append(check())
    progress(len(checks), len(checks), "checks for gradient masking")
    return tuple(results)


def more_steps(subject: Subject, white_box: Mask) -> Check:
    """More steps must not help the defender: PGD-100 finds at least what PGD-10 finds."""
    few, many = _fraction(under_attack(subject, PGD(10))), _fraction(white_box)
    passed = many <= few + _deviation(few, len(subject.examples))
    verb = "no more than" if passed else "more than"
    return Check(
        "more_steps",
        passed,
        f"{many:.1%} withstand PGD-100, {verb} the {few:.1%} that withstand PGD-10.",
        {"pgd10": few, "pgd100": many},
    )


def gradients(subject: Subject) -> Check:
    """The input gradient of a correct example must not be exactly zero.

    Tested on the cross-entropy, which attacks climb, and on the margin, which cannot saturate.
    """
    saturated = _zero_fraction(subject, cross_entropy)
    flat = _zero_fraction(subject, margin)
    passed = max(saturated, flat) <= _ZERO
    return Check(
        "gradients",
        passed,
        f"The gradient is exactly zero on {saturated:.1%} of the correct examples for the "
        f"cross-entropy and on {flat:.1%} for the margin; at most {_ZERO:.0%} may be.",
        {"cross_entropy": saturated, "margin": flat},
    )


def black_box(subject: Subject, white_box: Mask, queries: int) -> Check:
    """A search without gradients must not succeed where the white-box attack fails.

    Args:
        subject: the classifier, examples, threat and seed.
        white_box: mask of the examples that withstood the white-box attack.
        queries: of the search, for each example.
    """
    impossible = refusal(subject.threat, subject.examples.shape)
    if impossible:
        return Check("black_box", None, f"Square was not run: {impossible}")
    survives = square(subject, queries=queries)
    return _beaten("black_box", f"Square ({queries} queries)", survives, white_box)


def transfer(subject: Subject, white_box: Mask, source: nn.Module | None) -> Check:
    """Adversarial examples of another net must not succeed where the white-box attack fails.

    Args:
        subject: the classifier, examples, threat and seed.
        white_box: mask of the examples that withstood the white-box attack.
        source: the net that is attacked, on the same device; without it the check does not run.
    """
    if source is None:
        return Check("transfer", None, "The transfer attack needs a dense net and was not run.")
    survives = subject.clean & transferred(subject, source)
    return _beaten("transfer", "PGD-50 on the dense net", survives, white_box)


def large_radius(subject: Subject) -> Check:
    """Once every image may become the same grey, no net can be right on more than one label."""
    x, y = subject.examples.images(), subject.examples.y
    grey = torch.full_like(x, 0.5)
    threat = _reaching(subject.threat, grey, x)
    if threat is None:
        return Check("large_radius", None, "No radius reaches grey, so this check was not run.")
    with torch.no_grad():
        answer = subject.model(grey[:1]).argmax()
    possible = _fraction(y == answer)
    robust = _fraction(under_attack(subject.within(threat), PGD(50, track=True)))
    passed = robust <= possible + _deviation(possible, len(y))
    verdict = "as it must be" if passed else "so the attack fails"
    return Check(
        "large_radius",
        passed,
        f"At radius {threat.radius():.3g} PGD leaves {robust:.1%} correct where at most "
        f"{possible:.1%} can be, {verdict}.",
        {"radius": threat.radius(), "robust": robust, "possible": possible},
    )


def _reaching(threat: Threat, goal: Images, x: Images) -> Threat | None:
    """The threat, grown until every example may become ``goal``; `None` if it never does."""
    for _ in range(60):
        if threat.contains(goal, x):
            return threat
        threat = threat.scaled(1.5)
    return None


def _beaten(name: str, attack: str, survives: Mask, white_box: Mask) -> Check:
    """Whether ``attack`` fools examples that withstood the white-box attack."""
    broken = _fraction(white_box & ~survives)
    passed = broken <= _MOST_FOOLED
    return Check(
        name,
        passed,
        f"{attack} fools {broken:.1%} of the examples on which the white-box attack failed; "
        f"at most {_MOST_FOOLED:.0%} may be.",
        {"broken": broken, "robust": _fraction(survives), "white_box": _fraction(white_box)},
    )


def _zero_fraction(subject: Subject, loss: Callable[[nn.Module, Tensor], SampleLoss]) -> float:
    """The fraction of the correct examples on which ``∇ₓ loss`` is exactly zero."""
    zero, count = 0, 0
    for _, places in subject.in_batches(subject.clean):
        x, y = subject.examples.images(places), subject.examples.y[places]
        _, grad = input_gradient(loss(subject.model, y), x)
        zero += int((grad.flatten(1) == 0).all(1).sum())
        count += len(places)
    return zero / max(count, 1)


def _fraction(mask: Mask) -> float:
    return float(mask.double().mean())


def _deviation(p: float, n: int) -> float:
    """One standard error, and never less than one example."""
    return max(sqrt(p * (1 - p) / n), 1 / n)
