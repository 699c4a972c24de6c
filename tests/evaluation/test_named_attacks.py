"""Attacks by name: hauberk's, and one of the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from hauberk.attacks import FGSM, PGD
from hauberk.evaluation.named_attacks import Named, named

OWN = """
from hauberk.attacks import PGD

def Mine(): return PGD(7)
ready = PGD(3)
nothing = 5
def fails(): raise KeyError("no")
"""


def test_attacks_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_attacks.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    assert named("autoattack") == Named(autoattack=True)
    assert named("FGSM") == Named({"FGSM": FGSM(track=True)})
    assert named("pgd:20") == Named({"pgd:20": PGD(20, track=True)})
    assert named("own_attacks:Mine") == Named({"own_attacks:Mine": PGD(7)})
    assert named("own_attacks:ready") == Named({"own_attacks:ready": PGD(3)})
    for text, line in (
        ("own_attacks:nothing", "gave an object of type int"),
        ("own_attacks:fails", "own_attacks:fails failed .KeyError: 'no'"),
        ("own_attacks:other", "has no 'other'"),
        ("no_such_module:x", "could not be imported"),
        ("pgd:0", "package.module:Name for one of your own"),
    ):
        with pytest.raises(ValueError, match=line) as error:
            named(text)
        assert "\n" not in str(error.value)
