"""Sizes as people write them."""

import pytest

from hauberk.ops.sizes import count, size_bytes


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("20kB", 20_000), ("20 kb", 20_000), ("1.5MiB", 1_572_864), ("17200B", 17_200),
        ("1%", 1_000), ("0.01", 1_000), (".5", 50_000), ("1", 100_000), ("2KiB", 2_048),
    ],
)  # fmt: skip
def test_sizes_are_read(text: str, want: int) -> None:
    assert size_bytes(text, 100_000) == want


@pytest.mark.parametrize("text", ["", "0", "-1kB", "20", "kB", "1e3kB", "20 stone", "0%", "200%"])
def test_nonsense_is_one_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="give bytes with a unit, such as 20kB"):
        size_bytes(text, 100_000)


@pytest.mark.parametrize(
    ("text", "want"), [("500k", 500_000), ("2M", 2_000_000), ("1.5 m", 1_500_000), ("50%", 500),
                       ("0.1", 100), ("1234", 1234)]
)  # fmt: skip
def test_counts_are_read(text: str, want: int) -> None:
    assert count(text, 1000) == want


@pytest.mark.parametrize("text", ["", "0", "-2M", "2kB", "1.5", "many"])
def test_counts_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="give a number such as 500k or 2M"):
        count(text, 1000)
