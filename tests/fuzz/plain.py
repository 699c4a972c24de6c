"""Random mutations of a corpus, for where Atheris is not installed."""

from __future__ import annotations

import random
import time
from math import inf

from tests.fuzz.targets import Target

SLOWEST = 5.0
"""Seconds of the processor that one content may take."""
_WORDS = (b"\x00", b"\xff" * 8, b"[" * 3000, b"9" * 5000, b"NaN", b"1e999", b"-1", b"\x1b[", b'"')


def mutated(seed: bytes, rng: random.Random) -> bytes:
    """The seed with one to five changes: bytes, cuts, repetitions, words that parsers dislike."""
    content = bytearray(seed)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(content) + 1)
        end = min(len(content), at + rng.choice((1, 1, 2, 8, 64)))
        change = rng.randrange(5)
        if change == 0 and at < len(content):
            content[at] = rng.randrange(256)
        elif change == 1:
            del content[at:end]
        elif change == 2:
            content[at:at] = content[at:end] * rng.choice((1, 2, 50))
        elif change == 3:
            content[at:end] = rng.choice(_WORDS)
        else:
            content[at:end] = rng.randbytes(end - at)
    return bytes(content)


def search(target: Target, seconds: float = inf, most: float = inf, seed: int = 0) -> int:
    """Read mutations of all seeds in turn; the number of them.

    Args:
        target: the format.
        seconds: to search at most.
        most: mutations to try at most.
        seed: of the mutations.

    Raises:
        AssertionError: a fault of one of them, or it took too long.
    """
    rng, seeds, count = random.Random(seed), target.corpus(), 0
    for content in seeds:
        target(content)
    end = time.monotonic() + seconds
    while time.monotonic() < end and count < most:
        content = mutated(seeds[count % len(seeds)], rng)
        start = time.process_time()
        try:
            target(content)
        except Exception as error:
            raise AssertionError(f"mutation {count} of seed {seed}") from error
        assert time.process_time() - start < SLOWEST, f"mutation {count} of seed {seed}"
        count += 1
    return count
