"""A file of so many bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.test_solve import toy
from torch import nn

import hauberk as hb

QUICK = {"epochs": 2, "dense_epochs": 2, "codebook_epochs": 1, "batch_size": 32, "lr": 0.02}


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 200), nn.ReLU(), nn.Linear(200, 3))


@pytest.mark.parametrize("size", ["1500B", "3kB", "15%"])
def test_the_file_on_disk_meets_the_size_and_uses_it(size: str, tmp_path: Path) -> None:
    method = hb.Sized(size=size, **QUICK)
    made = hb.compress(mlp(), toy(), method=method, threat=hb.Linf(0.1), out=tmp_path)
    dense = 4 * sum(p.numel() for p in mlp().parameters())
    limit = {"1500B": 1500, "3kB": 3000, "15%": int(0.15 * dense)}[size]
    assert made.path is not None
    assert 0.97 * limit <= made.path.stat().st_size <= limit


def test_a_size_that_holds_not_even_the_header_says_the_least() -> None:
    with pytest.raises(ValueError, match=r"header, biases and norms alone take \d+"):
        hb.compress(
            mlp(),
            toy(),
            method=hb.Sized(size="200B", **QUICK),
            threat=hb.Linf(0.1),
            pretrained=True,
        )


@pytest.mark.parametrize(
    "settings", [{"size": "tiny"}, {"most_bits": 9}, {"codebook_epochs": -1}, {"size": "0%"}]
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="give"):
        hb.Sized(**settings)
