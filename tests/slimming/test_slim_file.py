"""The file of a slim net: it loads into the full-size module and counts the dense bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.helpers.slimmable import (
    Branches,
    Residual,
    Small,
    example,
    inputs,
    killed,
    randomised,
    widths,
)
from torch import nn

import hauberk as hb
from hauberk.artifact import ArtifactError, dense_bytes
from hauberk.models import build
from hauberk.slimming.slim import slim


@pytest.fixture
def lean() -> tuple[nn.Module, nn.Module]:
    net = killed(randomised(build("resnet18:1")))
    return net, slim(net, example(net))


def encode(small: nn.Module, net: nn.Module, whole: int | None = None) -> hb.Artifact:
    named = getattr(net, "architecture", None)
    return hb.Artifact.encode(
        small.state_dict(),
        architecture=hb.artifact.Architecture(*named) if named else None,
        input_shape=tuple(example(net).shape[1:]),
        classes=10,
        dense_bytes=whole,
    )


def test_a_slim_file_loads_into_the_named_network(
    tmp_path: Path, lean: tuple[nn.Module, nn.Module]
) -> None:
    net, small = lean
    encode(small, net, dense_bytes(net.state_dict())).save(tmp_path / "slim.hbk")
    loaded = hb.load(tmp_path / "slim.hbk")
    x = inputs((3, 32, 32))
    assert torch.equal(loaded(x), small(x))
    assert widths(loaded) == widths(small)
    artifact = hb.Artifact.load(tmp_path / "slim.hbk")
    assert artifact.dense_bytes == encode(net, net).dense_bytes > encode(small, net).dense_bytes


@pytest.mark.parametrize("cls", [Residual, Branches])
def test_a_slim_file_loads_into_a_users_module(tmp_path: Path, cls: type[nn.Module]) -> None:
    net = killed(randomised(cls()))
    small = slim(net, example(net))
    encode(small, net, dense_bytes(net.state_dict())).save(tmp_path / "slim.hbk")
    loaded = hb.load(tmp_path / "slim.hbk", model=cls())
    x = inputs((1, 8, 8))
    assert torch.equal(loaded(x), small(x))
    assert hb.Artifact.load(tmp_path / "slim.hbk").dense_bytes == dense_bytes(net.state_dict())


def test_tied_tensors_count_once_in_the_dense_bytes() -> None:
    net = build("lenet:1").state_dict()
    twice = {**net, "again": net["fc1.weight"]}
    assert dense_bytes(twice) == dense_bytes(net) == encode(build("lenet:1"), Small()).dense_bytes


@pytest.mark.parametrize("whole", [0, -4, 1 << 48, 4.0, True, "4"])
def test_absurd_dense_bytes_are_refused(whole: int) -> None:
    net = Small()
    with pytest.raises(ValueError, match=r"dense_bytes was given as .*; give a whole number"):
        encode(net, net, whole)


def test_a_dense_net_smaller_than_the_file_is_refused() -> None:
    net = Small()
    own = dense_bytes(net.state_dict())
    with pytest.raises(ValueError, match=f"given as {own - 4:,} and the state has {own:,}"):
        encode(net, net, own - 4)
    assert encode(net, net, own).dense_bytes == own


def test_damaged_dense_bytes_are_refused() -> None:
    from hauberk.artifact import format

    net = Small()
    found = format.unpack(encode(net, net, 9000).content)
    about, table, stream = found.about, found.table, found.stream
    assert about.dense_bytes == 9000
    for odd in ("nine", "09000", "-9000", str(1 << 48), "", "9_000"):
        content = format.pack(about, table, stream)
        length = int.from_bytes(content[:8], "little")
        changed = content[8 : 8 + length].replace(b'"9000"', f'"{odd}"'.encode()).rstrip()
        changed += b" " * (-len(changed) % 8)
        with pytest.raises(ArtifactError, match="header that hauberk does not write"):
            hb.Artifact.from_bytes(_signed(changed, content[8 + length :]))
    lying = format.pack(format.About(None, (1, 8, 8), 10, 8), table, stream)
    with pytest.raises(ArtifactError, match="contradict each other"):
        hb.Artifact.from_bytes(lying)


def _signed(header: bytes, payload: bytes) -> bytes:
    """A file whose checksum holds."""
    import hashlib
    import re

    mark = rb'"checksum":"[0-9a-f]{16}"'
    blank = re.sub(mark, b'"checksum":"' + b"0" * 16 + b'"', header)
    whole = len(blank).to_bytes(8, "little") + blank + payload
    digest = hashlib.blake2b(whole, digest_size=8).hexdigest()
    return whole.replace(b"0" * 16, digest.encode(), 1)
