"""The command, called as a person calls it."""

from __future__ import annotations

import functools

import pytest

from hauberk.cli import main
from hauberk.evaluation.cost import latency
from hauberk.evaluation.search import Effort
from tests.helpers.judging import short_suite

QUICK = Effort(
    steps=20, bypass=3, probe=4, small=20, queries=20, rounds=1, learning=20, walk=1, flips=20
)
"""Budgets of a search whose strength is no matter."""
FAST = ["--data", "digits", "--threat", "linf:0.1", "--seed", "1"]
"""Flags of a run on digits."""


def run(*words: str, code: int = 0) -> None:
    """The command must end with this exit code."""
    with pytest.raises(SystemExit) as stop:
        main.main(words)
    assert stop.value.code == code


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one sentence on stderr of a call that must end with 2."""
    run(*words, code=2)
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    *before, last = err.splitlines(keepends=True)
    assert all(
        line.startswith(("The start classifies", "The training takes")) for line in before
    ), err
    assert last.startswith("hauberk: ") and last.endswith("\n"), err
    return last


def few_queries(patch: pytest.MonkeyPatch) -> None:
    """Attacks of few steps and queries, and a latency of few calls.

    They take most of a small run's time.
    """
    patch.setattr("hauberk.evaluation.search.USUAL", QUICK)
    short_suite(patch)
    patch.setattr("hauberk.evaluation.evaluation.latency", functools.partial(latency, repeats=5))


def anchors(patch: pytest.MonkeyPatch, count: int) -> None:
    """Plans of bytes that look at so many candidates, 12 elsewhere; the codec has the last word."""
    for module in ("hauberk.allocation.byte_budget", "hauberk.artifact.lengths"):
        patch.setattr(f"{module}._ANCHORS", count)
