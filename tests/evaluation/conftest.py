from __future__ import annotations

import importlib
from typing import Any

import pytest


@pytest.fixture
def short_autoattack(monkeypatch: pytest.MonkeyPatch) -> None:
    """AutoAttack of the same attacks with fewer steps and queries, where strength is no matter."""
    official = importlib.import_module("hauberk.evaluation.autoattack")  # its function has its name
    made = official._official

    def short(*given: Any) -> Any:
        found = made(*given)
        for attack in (found.apgd, found.apgd_targeted, found.fab):
            attack.n_iter = 25
        found.square.n_queries = 200
        return found

    monkeypatch.setattr(official, "_official", short)
