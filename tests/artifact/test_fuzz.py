"""Any mutated file gives a clear error or the exact original, also when its checksum is forged."""

from __future__ import annotations

import hashlib
import random
import re
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hauberk.artifact import Architecture, Artifact, ArtifactError
from hauberk.artifact import format as container
from hauberk.artifact.table import Entry, Stored, pack, unpack
from hauberk.parametrize.factors import Factors

FEW_SECONDS = 20.0
"""Of this process, so that a busy machine does not count."""
MEMORY = 10 * (1 << 20)
"""The honest need of the file under test is far below a tenth of this."""
TRACED = 10
"""One trial in so many is held to it: tracing takes ten times as long as the trial."""


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    rng = torch.Generator().manual_seed(0)

    def sparse(*shape: int) -> torch.Tensor:
        w = torch.randint(-7, 8, shape, generator=rng) / 8
        return w * (torch.rand(shape, generator=rng) < 0.1) * (torch.rand(shape[0], 1) < 0.7)

    bias = torch.randn(20, generator=rng)
    state = {
        "a.weight": sparse(40, 60),
        "a.bias": bias,
        "b.weight": Factors(
            sparse(40, 40) + torch.eye(40), sparse(40, 90), sparse(40, 90), (40, 90)
        ),
        "c.weight": Factors(
            torch.randn(30, 1, generator=rng), torch.ones(1, 50), torch.zeros(30, 50), (30, 50)
        ),
        "tied": bias,
        "steps": torch.tensor(7),
    }
    named = Architecture("mlp", {"width": 40})
    return Artifact.encode(state, architecture=named, input_shape=(60,), classes=10)


def flip(x: bytearray, rng: random.Random) -> None:
    x[rng.randrange(len(x))] ^= 1 << rng.randrange(8)


def overwrite(x: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(x))
    x[at : at + 8] = rng.randbytes(min(8, len(x) - at))


def cut(x: bytearray, rng: random.Random) -> None:
    del x[rng.randrange(len(x)) :]


def insert(x: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(x))
    x[at:at] = rng.randbytes(rng.randrange(1, 9))


def remove(x: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(x))
    del x[at : at + rng.randrange(1, 9)]


def swap(x: bytearray, rng: random.Random) -> None:
    size = rng.randrange(1, 40)
    a, b = sorted(rng.randrange(len(x) - size) for _ in range(2))
    x[a : a + size], x[b : b + size] = x[b : b + size], x[a : a + size]


def blank(x: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(x))
    count = min(rng.randrange(1, 64), len(x) - at)
    x[at : at + count] = bytes([rng.choice((0, 255))]) * count


def header(x: bytearray, rng: random.Random) -> None:
    at = rng.randrange(8, min(len(x), 340))
    x[at] = rng.choice(b'0123456789"{}[],:\\ eE.-')


MUTATIONS = (flip, overwrite, cut, insert, remove, swap, blank, header)


def outcome(content: bytes, original: Artifact, exact: bool) -> bool:
    """Whether the content was refused; otherwise it must be the original, or at least a state."""
    try:
        state = Artifact.from_bytes(content).state()
    except ArtifactError as error:
        assert str(error).endswith(".")
        assert len(str(error)) < 300
        return True
    if exact:
        assert all(torch.equal(a, state[n]) for n, a in original.state().items())
    assert all(torch.isfinite(t).all() for t in state.values())
    return False


def trial(
    make: Callable[[random.Random], bytes], count: int, original: Artifact, exact: bool
) -> int:
    rng = random.Random(0)
    refused, start = 0, time.process_time()
    for i in range(count):
        content = make(rng)
        if i % TRACED:
            refused += outcome(content, original, exact)
        else:
            refused += traced(lambda content=content: outcome(content, original, exact))
    assert time.process_time() - start < FEW_SECONDS
    return refused


def traced(task: Callable[[], bool]) -> bool:
    """The task, held to what it may allocate."""
    tracemalloc.start()
    try:
        done = task()
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    return done


def test_mutations(artifact: Artifact) -> None:
    def mutate(rng: random.Random) -> bytes:
        x = bytearray(artifact.content)
        for _ in range(rng.choice((1, 1, 2, 5))):
            if len(x) > 100:
                rng.choice(MUTATIONS)(x, rng)
        return bytes(x)

    assert trial(mutate, 6800, artifact, exact=True) > 6500


def signed(content: bytes) -> bytes:
    plain = re.sub(rb'"checksum":"[^"]*"', b'"checksum":"' + b"0" * 16 + b'"', content, count=1)
    digest = hashlib.blake2b(plain, digest_size=8).hexdigest().encode()
    return plain.replace(b'"checksum":"' + b"0" * 16, b'"checksum":"' + digest, 1)


def test_signing_is_what_the_format_says(artifact: Artifact) -> None:
    assert signed(artifact.content) == artifact.content


@pytest.mark.slow
def test_mutations_with_a_forged_checksum(artifact: Artifact) -> None:
    start = 8 + int(struct.unpack_from("<Q", artifact.content)[0])

    def mutate(rng: random.Random) -> bytes:
        head, payload = artifact.content[:start], bytearray(artifact.content[start:])
        rng.choice((flip, overwrite, swap, blank))(payload, rng)
        return signed(head + bytes(payload))

    assert 0 < trial(mutate, 1600, artifact, exact=False) < 1600  # some decode, to a valid state


@pytest.mark.slow
def test_tables_and_streams_by_hand(artifact: Artifact) -> None:
    """The parts repacked around a mutated stream or table, so that the container is flawless."""
    golden = (Path(__file__).parent / "golden_v2.hbk").read_bytes()
    originals = [container.unpack(content) for content in (artifact.content, golden)]

    def mutate(rng: random.Random) -> bytes:
        found = rng.choice(originals)
        parts = [bytearray(found.table), bytearray(found.stream)]
        rng.choice((flip, overwrite, swap, blank))(rng.choice(parts), rng)
        if rng.random() < 0.3:
            parts[1] = parts[1][: 4 * rng.randrange(len(parts[1]) // 4)]
        if rng.random() < 0.2:
            parts[1] = bytearray(rng.randbytes(4 * rng.randrange(1, 60)))
        return container.pack(found.about, bytes(parts[0]), bytes(parts[1]))

    assert 0 < trial(mutate, 1600, artifact, exact=False) < 1600  # some decode, to a valid state


@pytest.mark.parametrize(
    "entry",
    [
        Entry("w", Stored.PLAIN, 0, (1 << 30, 1 << 9)),
        Entry("w", Stored.PLAIN, 0, (1 << 14, 1 << 14)),
        Entry("w", Stored.FACTORS, 0, (1 << 10, 1 << 10), 1 << 24),
        Entry("w", Stored.FACTORS, 0, (1 << 13, 1 << 13), 1 << 13),
        Entry("w", Stored.FACTORS_FROM_IDENTITY, 0, (1 << 20, 1), 1 << 20),
        Entry("w", Stored.FACTORS, 7, (4, 4), 4),
        Entry("w", Stored.FACTORS, 0, (), 4),
        Entry("w", Stored.ALIAS, 0, (), 0),
        Entry("w", Stored.PLAIN, 0, (1,) * 40),
    ],
)
def test_claims_are_refused_before_allocation(entry: Entry) -> None:
    about = container.About(None, (1,), 2)
    with pytest.raises(ArtifactError):
        Artifact.from_bytes(container.pack(about, pack([entry]), b"\1\0\0\0"))


def deflated(plain: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(plain) + deflate.flush()


@pytest.mark.parametrize(
    "plain",
    [
        b"\1\0\x80\x80\x80\x10" + b"w" * (1 << 25),  # one name of 2^25 bytes
        b"\xff\xff\xff\x07" + bytes(1 << 23),  # entries without end
        b"\x80\x80\x04" + bytes(1 << 16) + b"\xff\x7f" * (1 << 16),  # names of names of names
        b"\0more",
        b"",
    ],
    ids=["long name", "many entries", "repeated names", "leftovers", "nothing"],
)
def test_tables_that_grow_without_end_are_refused(plain: bytes) -> None:
    about = container.About(None, (1,), 2)
    content = container.pack(about, deflated(plain), b"")

    def refused() -> bool:
        with pytest.raises(ArtifactError):
            Artifact.from_bytes(content)
        return True

    tracemalloc.start()
    assert refused()
    assert tracemalloc.get_traced_memory()[1] < 12 * (1 << 24)
    tracemalloc.stop()


@pytest.mark.slow
def test_more_than_a_table_holds_is_not_written() -> None:
    entries = [Entry(str(i), Stored.PLAIN, 0, (1,)) for i in range((1 << 16) + 1)]
    with pytest.raises(ValueError, match="at most 65,536"):
        pack(entries)
    assert len(unpack(pack(entries[1:]))) == 1 << 16
    with pytest.raises(ValueError, match="16,777,216 bytes in all"):
        pack([Entry(f"{i:05}{'x' * 1019}", Stored.PLAIN, 0, (1,)) for i in range(17_000)])


NAMES = ("ant", 'b"ee', "größe\\", "猫", "🐄", "x " * 128)


@pytest.fixture(scope="module")
def labelled() -> Artifact:
    state = {"w": torch.arange(12.0).reshape(6, 2)}
    return Artifact.encode(state, architecture=None, input_shape=(2,), classes=6, labels=NAMES)


def test_labels_come_back(labelled: Artifact) -> None:
    assert Artifact.from_bytes(labelled.content).about.labels == labelled.about.labels == NAMES
    plain = Artifact.encode(labelled.state(), architecture=None, input_shape=(2,), classes=6)
    assert plain.about.labels == () and b"labels" not in plain.content


BAD_LABELS = {
    "few": ("a", "b"),
    "many": tuple("abcdefg"),
    "same": ("a",) * 6,
    "empty": ("", *"bcdef"),
    "long": ("a" * 257, *"bcdef"),
    "control": ("a\x07", *"bcdef"),
    "line": ("a\nb", *"bcdef"),
    "c1": ("a\x85", *"bcdef"),
    "direction": ("a\u202eb", *"bcdef"),
    "half": ("a\ud800", *"bcdef"),
    "no text": (1, *"bcdef"),
    "list": (["a"], *"bcdef"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("case", BAD_LABELS)
def test_labels_that_no_file_holds_are_neither_written_nor_read(case: str) -> None:
    labels = BAD_LABELS[case]
    about = container.About(None, (2,), 6, None, labels)
    entry = Entry("w", Stored.PLAIN, 0, (1,))
    with pytest.raises(ArtifactError, match="header that hauberk does not write"):
        container.unpack(container.pack(about, pack([entry]), b""))
    with pytest.raises(ValueError, match="class names cannot be stored") as caught:
        Artifact.encode({}, architecture=None, input_shape=(2,), classes=6, labels=labels)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300


def test_labels_may_not_fill_the_header() -> None:
    names = tuple(f"{i:05}" + "é" * 200 for i in range(300))
    with pytest.raises(ValueError, match="at most 262,144"):
        Artifact.encode({}, architecture=None, input_shape=(2,), classes=300, labels=names)
    fits = Artifact.encode({}, architecture=None, input_shape=(2,), classes=150, labels=names[:150])
    assert Artifact.from_bytes(fits.content).about.labels == names[:150]


def test_mutated_labels_with_a_forged_checksum(labelled: Artifact) -> None:
    """Every byte of the header may be another, and the checksum right: a sentence or six names."""
    start = 8 + int(struct.unpack_from("<Q", labelled.content)[0])
    first = labelled.content.index(b'"labels"')
    rng, accepted = random.Random(0), 0
    for _ in range(3000):
        x = bytearray(labelled.content)
        for _ in range(rng.choice((1, 1, 2, 4))):
            x[rng.randrange(first, start)] = rng.choice(b'abc"[],:\\u0123 \n\x00\xff{}')
        try:
            found = Artifact.from_bytes(signed(bytes(x)))
        except ArtifactError as error:
            assert str(error).endswith(".") and len(str(error)) < 300
        else:
            accepted += 1
            assert len(set(found.about.labels)) == found.about.classes == 6
            assert Artifact.from_bytes(found.content).about.labels == found.about.labels
    assert 0 < accepted < 2900
