"""Settings by name: one name each, changed wherever they are, checked where they live."""

from __future__ import annotations

import dataclasses

import pytest

import hauberk as hb
from hauberk.method import Method
from hauberk.nested import settings
from tests.contracts.rows import METHODS

EVERY = list({type(method): method for method, _ in METHODS}.values())


def _names(owner: object) -> list[str]:
    held = [(f.name, getattr(owner, f.name)) for f in dataclasses.fields(owner)]
    return [
        name
        for own, value in held
        for name in (_names(value) if dataclasses.is_dataclass(value) else [own])
    ]


@pytest.mark.parametrize("method", EVERY, ids=lambda m: type(m).__name__)
def test_every_setting_has_a_name_of_its_own(method: Method) -> None:
    names = _names(method)
    assert len(set(names)) == len(names)


def test_a_nested_setting_changes_by_its_name() -> None:
    before = hb.ATMC(keep=0.1)
    after = before.with_(keep=0.02, epochs=3, half=False)
    assert after == hb.ATMC(
        keep=0.02,
        optimisation=hb.Optimisation(epochs=3),
        packaging=hb.Packaging(half=False),
    )
    assert before == hb.ATMC(keep=0.1)
    assert settings(after)["epochs"] == 3 and settings(after)["exclude"] == ()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"epoch": 3}, "^ATMC has no setting 'epoch'; did you mean epochs?"),
        ({"zzzzz": 3}, "^ATMC has no setting 'zzzzz'; give one of across, "),
        ({"epochs": -1}, "^epochs was given as -1; give 0 or more.$"),
        ({"trades": 6.0, "clean": 0.5}, "^trades was given with clean, q or natural"),
        ({"trades": -1.0}, "^trades was given as -1.0"),
    ],
)
def test_what_cannot_be_set_is_one_line(changes: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        hb.ATMC().with_(**changes)
