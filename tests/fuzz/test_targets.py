"""Every fuzzing target for some seconds, without Atheris."""

from __future__ import annotations

import pytest

from tests.fuzz.plain import search
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", list(TARGETS))
def test_every_seed_is_a_valid_file(name: str) -> None:
    """Mutations of a file that is refused as a whole would reach nothing behind that."""
    target, refused = TARGETS[name], list[str]()
    for content in target.corpus():
        try:
            target.read(target.repaired(content))
        except (ValueError, OSError) as error:
            refused.append(str(error))
    assert not refused


def test_a_moved_header_is_made_right() -> None:
    target = TARGETS["hbk"]
    content = target.corpus()[1]
    at = content.index(b'"checksum"')
    with pytest.raises(ValueError, match="a header that hauberk does not write"):  # not: damaged
        target.read(target.repaired(content[:at] + b" " * 5 + content[at:]))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(TARGETS))
def test_no_mutation_is_a_fault(name: str) -> None:
    assert search(TARGETS[name], 3) > 10
