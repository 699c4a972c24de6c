"""The picture of a file shows every byte of it once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from hauberk.artifact import Artifact
from hauberk.parametrize.factors import Factors
from hauberk.plots.anatomy import _bars, anatomy


def encode(count: int) -> Artifact:
    rng = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor | Factors] = {
        f"{i}.weight": torch.randint(-3, 4, (30 + i, 40), generator=rng) / 4 for i in range(count)
    }
    low = torch.randn(50, 1, generator=rng), torch.randn(1, 60, generator=rng), torch.zeros(50, 60)
    state["low"] = Factors(*low, (50, 60))
    state["bias"] = torch.zeros(7)
    return Artifact.encode(state, architecture=None, input_shape=(40,), classes=2)


@pytest.mark.parametrize("count", [0, 3, 40])
def test_every_byte_is_shown_once(count: int, tmp_path: Path) -> None:
    made = encode(count)
    bars = _bars(made)
    assert sum(bar.total for bar in bars) == pytest.approx(made.nbytes, abs=8)
    assert len(bars) <= 26
    assert any(bar.name.endswith("smaller tensors") for bar in bars) == (count > 3)
    assert count or any(bar.remark.startswith("rank 1") for bar in bars)
    anatomy(made, tmp_path / "file.png", "a file")
    with Image.open(tmp_path / "file.png") as picture:
        assert picture.width == 1440 and picture.height < 2000
