"""Checks for gradient masking: is a network robust, or is its gradient of no use to the attack?

Each check states a property of every network whose robustness is real, and is made for one kind of
mask. Sources: Athalye, Carlini and Wagner (2018), arXiv 1802.00420, §3.1; Carlini et al. (2019),
arXiv 1902.06705, §4 and §5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from torch import nn

from hauberk.evaluation.accuracy import Progress, silent
from hauberk.evaluation.checks.answers import jumps, noise, plateau, scale, slope
from hauberk.evaluation.checks.beaten import ATTACKS, beaten, gap
from hauberk.evaluation.checks.check import Check
from hauberk.evaluation.checks.gradients import gradients
from hauberk.evaluation.checks.white_box import large_radius, more_steps
from hauberk.evaluation.one_function import OneFunction
from hauberk.evaluation.search import Effort, Search
from hauberk.evaluation.subject import Subject


def run_checks(
    subject: Subject,
    *,
    source: nn.Module | None = None,
    effort: Effort | None = None,
    progress: Progress = silent,
) -> tuple[Check, ...]:
    """A search for adversarial examples, and all checks on what it found.

    Args:
        subject: the classifier, examples (some hundreds are enough), threat and seed.
        source: the net from which adversarial examples are transferred, such as the dense one.
        effort: budgets of the search; by default `hauberk.evaluation.search.USUAL`.
        progress: called with the steps done.

    Raises:
        ValueError: the answers to an image depend on something else, see `OneFunction`.
    """
    function = OneFunction("The network", subject)
    search = Search(subject, source=source, effort=effort, progress=progress)
    search.run()
    function.after()
    return checks_of(search, function, len(subject.examples), progress)


def checks_of(
    search: Search, function: OneFunction, limit: int, progress: Progress = silent
) -> tuple[Check, ...]:
    """The checks after a search.

    Args:
        search: that ran.
        function: the comparisons before and after it.
        limit: the checks that attack anew do so on the first so many examples.
        progress: called with the checks done.
    """
    checks = [function.check, *_probes(search, limit)]
    for name, (attack, _) in ATTACKS.items() if search.gradient else ():
        taken, why = search.trials.taken.get(attack), search.skipped.get(attack)
        checks.append(partial(beaten, name, taken, why))
    results = []
    for done, check in enumerate(checks):
        progress(done, len(checks), "checks for gradient masking")
        results.append(check())
    progress(len(checks), len(checks), "checks for gradient masking")
    return tuple(results)


def _probes(search: Search, limit: int) -> Iterator[Callable[[], Check]]:
    """The checks that ask the network itself."""
    few = search.subject.first(limit)
    white_box = search.white_box
    assert white_box is not None
    if search.gradient:
        yield lambda: more_steps(few, white_box[: len(few.examples)])
        yield lambda: gradients(few)
        yield lambda: slope(few)
        yield lambda: plateau(few)
        yield lambda: jumps(few)
        yield lambda: large_radius(few)
        yield lambda: gap(white_box, search.left)
    yield lambda: noise(few)
    yield lambda: scale(few)


__all__ = ["Check", "checks_of", "run_checks"]
