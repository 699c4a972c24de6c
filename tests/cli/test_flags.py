"""Flags from dataclasses: nested values, names, help, and how values are read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from hauberk.cli import resolve
from hauberk.cli.flags import attributes, build, flag_name, flags_of, near
from hauberk.cli.parsing import CommandLine, parse, values
from hauberk.cli.resolve import Bytes
from hauberk.nested import replaced


@dataclass(frozen=True, kw_only=True)
class InnerAttack:
    """How to search.

    Attributes:
        steps: of the search,
            in all.
        soft: whether steps shrink.
    """

    steps: int = field(default=4, metadata={"flag": "attack-steps"})
    soft: bool = False


@dataclass(frozen=True, kw_only=True)
class Outer:
    """A recipe.

    Attributes:
        keep: fraction that is kept.
        attack: how the adversary searches.
        names: of layers.
        memory: for pixels.
        kind: of run.
        source: where from.
    """

    source: str = field(metadata={"flag": "from", "example": "digits"})
    keep: float = 0.5
    attack: InnerAttack = field(default_factory=lambda: InnerAttack(soft=True))
    names: tuple[str, ...] = ()
    memory: Bytes | None = None
    kind: Literal["one", "two"] = "one"
    out: Path = Path("runs")


def read(*words: str) -> Outer:
    flags = flags_of(Outer)
    line = CommandLine.split("try", words, flags)
    return build(Outer, values("try", line.settings, flags))


def test_nested_fields_are_flags_without_a_prefix() -> None:
    flags = flags_of(Outer)
    assert list(flags) == [
        "from", "keep", "attack-steps", "soft", "names", "memory", "kind", "out",
    ]  # fmt: skip
    steps = flags["attack-steps"]
    assert (steps.key, steps.default, steps.group) == ("attack_steps", 4, "inner attack")
    assert steps.help == "of the search, in all." and flags["soft"].default is True
    assert flags["keep"].help == "fraction that is kept." and flags["keep"].group == ""


def test_values_go_where_their_fields_are() -> None:
    made = read("--from", "d", "--attack-steps=7", "--names", "a", "b", "--memory", "4GB")
    assert made == Outer(
        source="d",
        attack=InnerAttack(steps=7, soft=True),
        names=("a", "b"),
        memory=Bytes("4GB"),
    )
    assert read("--from", "d", "--no-soft", "--kind", "two").attack == InnerAttack()
    less = replaced(made, {"attack-steps": 1, "keep": 0.1}, flag_name)
    assert (less.attack, less.keep, less.names) == (
        InnerAttack(steps=1, soft=True),
        0.1,
        ("a", "b"),
    )


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("keep", "1%", 0.01),
        ("keep", 1, 1.0),
        ("keep", 0.25, 0.25),
        ("attack-steps", "3", 3),
        ("from", "1%", "1%"),
        ("from", 32, "32"),
        ("names", "a,b", ("a,b",)),
        ("memory", "", None),
        ("memory", "25%", Bytes("25%")),
        ("kind", "two", "two"),
        ("out", "a/b", Path("a/b")),
        ("soft", False, False),
    ],
)
def test_the_type_of_a_field_reads_its_value(name: str, value: object, expected: object) -> None:
    found = flags_of(Outer)[name].read(value)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("keep", "ninety", "keep was given as ninety; give a number, such as 0.9"),
        ("keep", True, "give a number"),
        ("attack-steps", "5%", "attack_steps was given as 5%; give a whole number."),
        ("attack-steps", [1, 2], "was given as 1, 2; give a whole number."),
        ("soft", "yes", "give true or false."),
        ("kind", "three", "give one of one, two."),
        ("memory", "much", "give bytes with a unit, such as 4GB"),
        ("from", [1], "give a text."),
    ],
)
def test_what_does_not_fit_is_one_line(name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match="was given as") as caught:
        flags_of(Outer)[name].read(value)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_help_teaches_and_exits(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(Outer, "try", ["--help"])
    text = capsys.readouterr().out
    assert not stop.value.code
    for part in (
        "usage: hauberk try", "A recipe.", "inner attack:", "--soft, --no-soft", "(default: on)",
        "--kind {one,two}", "(required)", "--names [TEXT ...]",
    ):  # fmt: skip
        assert part in text, part


def test_what_begins_alike_is_nearest() -> None:
    assert near("admm", ["atmc", "admm-pruning"], "") == "did you mean admm-pruning?"
    assert near("zzz", ["atmc"], "give one.") == "give one."


def test_a_flag_of_several_methods_takes_values_alike() -> None:
    """The words of a command line are split before the method is known."""
    kinds: dict[str, object] = {}
    for cls in resolve.methods().values():
        for flag in flags_of(cls).values():
            arity = flag.kind if flag.kind is bool or flag.several else "one value"
            assert kinds.setdefault(flag.name, arity) == arity, flag.name


def test_every_setting_of_a_method_is_explained() -> None:
    for cls in resolve.methods().values():
        assert not [flag.name for flag in flags_of(cls).values() if not flag.help]
    assert isinstance(attributes(Outer), Mapping)


@pytest.mark.slow
def test_help_without_docstrings() -> None:
    words = ["-m", "hauberk", "compress", "--method", "size-target", "--help"]
    found = [
        subprocess.run([sys.executable, *flags, *words], capture_output=True, text=True).stdout
        for flags in ([], ["-OO"])
    ]
    assert found[0] == found[1] and "--size" in found[0]
