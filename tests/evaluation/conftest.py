from __future__ import annotations

import pytest
from tests.helpers.judging import short_suite


@pytest.fixture
def short_autoattack(monkeypatch: pytest.MonkeyPatch) -> None:
    """AutoAttack of the same attacks with fewer steps and queries, where strength is no matter."""
    short_suite(monkeypatch)
