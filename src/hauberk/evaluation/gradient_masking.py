"""Is the robustness real, or only a gradient that does not point anywhere?

Each check states what must hold of every network whose robustness is honest, and says so in one
sentence. Sources: Athalye, Carlini and Wagner (2018), arXiv 1802.00420, §3.1; Carlini et al.
(2019), arXiv 1902.06705, §4 and §5. Departure: where they let the radius grow without end, we
stop where the set of every image holds the same uniform grey; there no classifier can be right
on more examples than carry the one label it gives to grey, so the bound is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.attack import Attack, input_gradient
from hauberk.attacks import PGD
from hauberk.dataset import Examples
from hauberk.evaluation.accuracy import (
    Progress,
    clean,
    cross_entropy,
    margin,
    silent,
    transferred,
    under_attack,
)
from hauberk.evaluation.autoattack import refusal, square
from hauberk.evaluation.frozen_copy import Sealed, seal
from hauberk.evaluation.proportion import Mask
from hauberk.threat import Threat
from hauberk.types import Images, SampleLoss

_SHARE = 0.03
"""Share of the examples in which another attack may succeed where the white-box one failed."""
_ZERO = 0.01
"""Share of the correct examples that may have an input gradient of exactly zero."""


@dataclass(frozen=True)
class Check:
    """One verdict.

    Attributes:
        name: what was asked.
        passed: ``None`` where the check could not run.
        values: the figures behind it, shares in [0, 1].
        sentence: the finding, for people.
    """

    name: str
    passed: bool | None
    sentence: str
    values: Mapping[str, float] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """``{"passed", "sentence", "values"}``."""
        return {"passed": self.passed, "sentence": self.sentence, "values": dict(self.values)}


@dataclass(frozen=True)
class Suspect:
    """The network under suspicion, with what all checks share.

    Attributes:
        model: sealed.
        examples: the ones to try, on the device of the model.
        threat: what the adversary may do.
        seed: of every attack.
        batch_size: examples at a time.
        queries: of the black-box search, for each example.
    """

    model: Sealed
    examples: Examples
    threat: Threat
    seed: int
    batch_size: int = 500
    queries: int = 1000

    @cached_property
    def clean(self) -> Mask:
        """Which examples are correct without any attack."""
        return clean(self.model, self.examples, self.batch_size)

    @cached_property
    def white_box(self) -> Mask:
        """Which examples withstand PGD-100 on the cross-entropy, the attack that is doubted."""
        return self.attacked(PGD(100, track=True), self.threat)

    def attacked(self, attack: Attack, threat: Threat) -> Mask:
        """Which examples withstand ``attack`` within ``threat``."""
        return under_attack(
            self.model,
            self.examples,
            threat,
            attack,
            seed=self.seed,
            batch_size=self.batch_size,
        )


def run_checks(
    model: nn.Module,
    examples: Examples,
    threat: Threat,
    *,
    seed: int,
    source: nn.Module | None = None,
    batch_size: int = 500,
    queries: int = 1000,
    progress: Progress = silent,
) -> tuple[Check, ...]:
    """All checks for gradient masking, in order of their names' first mention above.

    Args:
        model: to logits (batch, class); it is left untouched.
        examples: the ones to try, on the device of the model; some hundreds are enough.
        threat: what the adversary may do.
        seed: of every attack.
        source: the net from which adversarial examples are transferred, such as the dense one.
        batch_size: examples at a time.
        queries: of the black-box search, for each example.
        progress: told of checks done.
    """
    suspect = Suspect(seal(model), examples, threat, seed, batch_size, queries)
    checks: tuple[Callable[[], Check], ...] = (
        lambda: more_steps(suspect),
        lambda: gradients(suspect),
        lambda: black_box(suspect),
        lambda: transfer(suspect, source),
        lambda: large_radius(suspect),
    )
    results = []
    for done, check in enumerate(checks):
        progress(done, len(checks), "checks for gradient masking")
        results.append(check())
    progress(len(checks), len(checks), "checks for gradient masking")
    return tuple(results)


def more_steps(suspect: Suspect) -> Check:
    """More steps must not help the defender: PGD-100 finds at least what PGD-10 finds."""
    few = _share(suspect.attacked(PGD(10), suspect.threat))
    many = _share(suspect.white_box)
    passed = many <= few + _deviation(few, len(suspect.examples))
    verb = "no more than" if passed else "more than"
    return Check(
        "more_steps",
        passed,
        f"{many:.1%} withstand PGD-100, {verb} the {few:.1%} that withstand PGD-10.",
        {"pgd10": few, "pgd100": many},
    )


def gradients(suspect: Suspect) -> Check:
    """The input gradient of a correct example must not be exactly zero.

    Asked of the cross-entropy, which attacks climb, and of the margin, which cannot saturate.
    """
    saturated = _zero_share(suspect, cross_entropy)
    flat = _zero_share(suspect, margin)
    passed = max(saturated, flat) <= _ZERO
    return Check(
        "gradients",
        passed,
        f"The gradient is exactly zero on {saturated:.1%} of the correct examples for the "
        f"cross-entropy and on {flat:.1%} for the margin; at most {_ZERO:.0%} may be.",
        {"cross_entropy": saturated, "margin": flat},
    )


def black_box(suspect: Suspect) -> Check:
    """A search without gradients must not succeed where the white-box attack fails."""
    impossible = refusal(suspect.threat, suspect.examples.shape)
    if impossible:
        return Check("black_box", None, f"Square was not run: {impossible}")
    survives = square(
        suspect.model,
        suspect.examples,
        suspect.threat,
        seed=suspect.seed,
        queries=suspect.queries,
        batch_size=suspect.batch_size,
    )
    return _beaten(suspect, "black_box", f"Square ({suspect.queries} queries)", survives)


def transfer(suspect: Suspect, source: nn.Module | None) -> Check:
    """Adversarial examples of another net must not succeed where the white-box attack fails."""
    if source is None:
        return Check("transfer", None, "The transfer attack needs a dense net and was not run.")
    survives = suspect.clean & transferred(
        suspect.model,
        source,
        suspect.examples,
        suspect.threat,
        seed=suspect.seed,
        batch_size=suspect.batch_size,
    )
    return _beaten(suspect, "transfer", "PGD-50 on the dense net", survives)


def large_radius(suspect: Suspect) -> Check:
    """Once every image may become the same grey, no net can be right on more than one label."""
    x, y = suspect.examples.images(), suspect.examples.y
    grey = torch.full_like(x, 0.5)
    threat = _reaching(suspect.threat, grey, x)
    if threat is None:
        return Check("large_radius", None, "No radius reaches grey, so this check was not run.")
    with torch.no_grad():
        answer = suspect.model(grey[:1]).argmax()
    possible = _share(y == answer)
    robust = _share(suspect.attacked(PGD(50, track=True), threat))
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
    """The threat, grown until every example may become ``goal``; a set of radius 0 never grows."""
    for _ in range(60):
        if threat.contains(goal, x):
            return threat
        threat = threat.scaled(1.5)
    return None


def _beaten(suspect: Suspect, name: str, attack: str, survives: Mask) -> Check:
    """Whether ``attack`` breaks what withstood the white-box attack."""
    broken = _share(suspect.white_box & ~survives)
    passed = broken <= _SHARE
    return Check(
        name,
        passed,
        f"{attack} fools {broken:.1%} of the examples on which the white-box attack failed; "
        f"at most {_SHARE:.0%} may be.",
        {"broken": broken, "robust": _share(survives), "white_box": _share(suspect.white_box)},
    )


def _zero_share(suspect: Suspect, loss: Callable[[nn.Module, Tensor], SampleLoss]) -> float:
    """The share of the correct examples on which ``∇ₓ loss`` is exactly zero."""
    zero, count = 0, 0
    correct = suspect.clean.nonzero()[:, 0]
    for start in range(0, len(correct), suspect.batch_size):
        part = correct[start : start + suspect.batch_size]
        x, y = suspect.examples.images(part), suspect.examples.y[part]
        _, grad = input_gradient(loss(suspect.model, y), x)
        zero += int((grad.flatten(1) == 0).all(1).sum())
        count += len(part)
    return zero / max(count, 1)


def _share(mask: Mask) -> float:
    return float(mask.double().mean())


def _deviation(share: float, n: int) -> float:
    """One standard error, and never less than one example."""
    return max(sqrt(share * (1 - share) / n), 1 / n)
