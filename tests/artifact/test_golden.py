"""A committed file of today's version decodes to what it was made from; older ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hauberk.artifact import Architecture, Artifact, ArtifactError
from hauberk.artifact.format import VERSION
from hauberk.parametrize.factors import Factors

GOLDEN = Path(__file__).parent / f"golden_v{VERSION}.hbk"


def grid(rows: int, columns: int, step: int) -> torch.Tensor:
    """Multiples of 1/8 and zeros, by arithmetic alone: no random numbers that could change."""
    n = torch.arange(rows * columns)
    values = ((n * step) % 15 - 7).float() / 8
    return torch.where((n * n * step) % 31 < 3, values, torch.zeros(())).reshape(rows, columns)


def state() -> dict[str, torch.Tensor | Factors]:
    bias = (torch.arange(12) * 0.1).float()
    low = Factors(grid(30, 1, 2) + 1, grid(1, 40, 3) + 1, torch.zeros(30, 40), (30, 40))
    near = Factors(
        grid(30, 30, 1) * (1 - torch.eye(30)) + torch.eye(30),
        grid(30, 50, 7),
        torch.zeros(30, 50),
        (30, 50),
    )
    dead = torch.where((torch.arange(64) % 8 == 1)[:, None], grid(64, 60, 7), torch.zeros(()))
    return {
        "0.weight": dead.reshape(64, 15, 2, 2),
        "0.bias": bias,
        "1.weight": low,
        "2.weight": near,
        "3.num_batches_tracked": torch.tensor(300),
        "3.half": bias.half(),
        "3.double": bias.double(),
        "3.brain": bias.bfloat16(),
        "3.mask": torch.arange(9) % 2 == 0,
        "tied": bias,
        "scalar": torch.tensor(-0.0),
        "none": torch.zeros(0, 3),
    }


def encode() -> Artifact:
    named = Architecture("lenet", {"width": 8, "classes": 10})
    return Artifact.encode(state(), architecture=named, input_shape=(1, 28, 28), classes=10)


def test_the_golden_file_decodes() -> None:
    golden = Artifact.load(GOLDEN)
    assert golden.about.architecture == Architecture("lenet", {"width": 8, "classes": 10})
    assert (golden.about.input_shape, golden.about.classes) == ((1, 28, 28), 10)
    decoded = golden.state()
    assert list(decoded) == list(state())
    for name, value in state().items():
        want = value.dense() if isinstance(value, Factors) else value
        assert decoded[name].dtype == want.dtype
        assert torch.equal(decoded[name], want)
    ranks = {layer.name: layer.rank for layer in golden.layers()}
    assert (ranks["0.weight"], ranks["1.weight"], ranks["2.weight"]) == (None, 1, 30)


@pytest.mark.parametrize("version", ["0", "1", "3"])
def test_another_version_is_refused_in_one_line(version: str) -> None:
    content = GOLDEN.read_bytes().replace(b'"version":"2"', f'"version":"{version}"'.encode())
    one_line = (
        rf"^old\.hbk has format version '{version}', and this hauberk reads version 2 only; "
        r"install the hauberk that wrote it\.$"
    )
    with pytest.raises(ArtifactError, match=one_line):
        Artifact.from_bytes(content, "old.hbk")


def test_todays_writer_is_no_worse() -> None:
    # deflate may differ by a few bytes
    assert encode().nbytes <= GOLDEN.stat().st_size + 8
