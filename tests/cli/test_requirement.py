"""``--require``, the gate for machines."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.command import refused, run

from hauberk.cli.requirement import Requirement, RequirementNotMet, check
from hauberk.evaluation import Check, Proportion, Row


def row(*checks: Check) -> Row:
    half, most = Proportion(50, 100), Proportion(90, 100)
    return Row("a.hbk", 20_000, 400_000, "linf:0.1", "strongest", most, half, checks=checks)


@pytest.mark.parametrize(
    "text", ["robust>=45%", "robust >= 0.5", "clean>89%", "bytes<=20kB", "bytes<20001", "checks"]
)
def test_what_holds_is_silent(text: str) -> None:
    check([Requirement(text)], row(Check("gap", True, ""), Check("transfer", None, "")))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("robust>50%", "robust is 50.0%, not > 50%"),
        ("clean>=91%", "clean is 90.0%"),
        ("bytes<=19kB", "bytes is 20,000, not <= 19kB"),
        ("checks", "the checks gap failed"),
    ],
)
def test_what_does_not_hold_is_one_line(text: str, says: str) -> None:
    with pytest.raises(RequirementNotMet, match=says) as caught:
        check([Requirement(text)], row(Check("gap", False, "")))
    assert "\n" not in str(caught.value)


def test_checks_that_did_not_run_do_not_hold() -> None:
    with pytest.raises(RequirementNotMet, match="no check ran"):
        check([Requirement("checks")], row())


@pytest.mark.parametrize("text", ["robust", "robust>=2", "bits<=3", "robust>=x%", "clean=>3%", ""])
def test_a_text_that_is_no_condition(text: str) -> None:
    with pytest.raises(ValueError, match=r"--require was given as .*\.$"):
        Requirement(text)


def test_the_command_ends_with_three_and_reads_it_first(
    start: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(start / "dense.hbk"), "--data", str(start / "few.npz")]
    words += ["--threat", "linf:0.05", "--attack", "pgd:2", "--no-checks", "--json"]
    assert "--require" in refused(capsys, *words, "--require", "robust=>45%")
    run(*words, "--require", "clean>=0%", "--require", "bytes<=1GB")
    capsys.readouterr()
    run(*words, "--require", "robust>=0%", "--require", "checks", "clean>99.9%", code=3)
    out, err = capsys.readouterr()
    assert out.startswith("{") and err.count("\n") == 1
    assert "no check ran" in err and "clean is" in err
