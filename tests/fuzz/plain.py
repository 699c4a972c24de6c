"""Random mutations of a seed, for where Atheris is not installed."""

from __future__ import annotations

import random
import time

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


def search(target: Target, seconds: float, seed: int = 0) -> int:
    """Read mutations for some seconds; the number of them.

    Raises:
        Exception: the fault of one of them.
        AssertionError: one of them took too long.
    """
    rng, original, count = random.Random(seed), target.seed(), 0
    target(original)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        content = mutated(original, rng)
        start = time.process_time()
        try:
            target(content)
        except Exception as error:
            raise AssertionError(f"mutation {count} of seed {seed}") from error
        assert time.process_time() - start < SLOWEST, f"mutation {count} of seed {seed}"
        count += 1
    return count
