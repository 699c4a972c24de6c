"""Every fuzzing target for some seconds, without Atheris."""

from __future__ import annotations

import pytest

from tests.fuzz.plain import search
from tests.fuzz.targets import TARGETS


@pytest.mark.slow
@pytest.mark.parametrize("name", list(TARGETS))
def test_no_mutation_is_a_fault(name: str) -> None:
    assert search(TARGETS[name], 3) > 10
