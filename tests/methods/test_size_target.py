"""A file of so many bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.helpers.nets import toy
from torch import nn

import hauberk as hb

QUICK = {"epochs": 2, "dense_epochs": 2, "codebook_epochs": 1, "batch_size": 32, "lr": 0.02}
FEW_BITS = {**QUICK, "most_bits": 4}  # plans in a fraction of the time


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 200), nn.ReLU(), nn.Linear(200, 3))


@pytest.mark.slow
@pytest.mark.parametrize("size", ["1500B", "3kB", "15%"])
def test_the_file_on_disk_meets_the_size_and_uses_it(size: str, tmp_path: Path) -> None:
    method = hb.SizeTarget(size=size).with_(**(QUICK if size == "15%" else FEW_BITS))
    made = hb.compress(mlp(), toy(), method=method, threat=hb.Linf(0.1), out=tmp_path)
    dense = 4 * sum(p.numel() for p in mlp().parameters())
    limit = {"1500B": 1500, "3kB": 3000, "15%": int(0.15 * dense)}[size]
    assert made.path is not None
    assert 0.97 * limit <= made.path.stat().st_size <= limit


@pytest.mark.slow
@pytest.mark.parametrize("slim", [False, True])
def test_a_resumed_run_plans_the_same_again(slim: bool, tmp_path: Path) -> None:
    """What is measured between the legs is a function of the weights: the same file comes out."""
    method = hb.SizeTarget(size="1500B").with_(slim=slim, reuse=True, **{**FEW_BITS, "epochs": 4})

    def run(resume: bool) -> bytes:
        state = hb.Run(resume=resume, identity="a run")
        hb.compress(mlp(), toy(), method=method, threat=hb.Linf(0.1), out=tmp_path, run=state)
        return (tmp_path / "model.hbk").read_bytes()

    whole = run(resume=False)
    legs = sorted(tmp_path.glob("stage-*.safetensors"))
    assert len(legs) >= 5  # dense, sparse, sparser, codebook, size
    for path in (tmp_path / "model.hbk", *legs[3:]):
        path.unlink()
    assert run(resume=True) == whole


@pytest.mark.slow
def test_dead_units_leave_before_the_codebooks_and_their_bytes_buy_weights(tmp_path: Path) -> None:
    files, bytes_of = {}, {}
    for slim in (False, True):
        method = hb.SizeTarget(size="1200B").with_(slim=slim, **FEW_BITS)
        made = hb.compress(
            mlp(), toy(), method=method, threat=hb.Linf(0.1), out=tmp_path / str(slim)
        )
        files[slim] = {layer.name: layer for layer in made.artifact.layers()}
        bytes_of[slim] = made.artifact.nbytes
    assert files[True]["1.bias"].weights < files[False]["1.bias"].weights
    assert bytes_of[True] >= 0.97 * 1200, "what they leave is not left over"


def test_a_size_that_holds_not_even_the_header_says_the_least() -> None:
    with pytest.raises(ValueError, match=r"header, biases and norms alone take \d+"):
        hb.compress(
            mlp(),
            toy(),
            method=hb.SizeTarget(size="200B").with_(**QUICK),
            threat=hb.Linf(0.1),
            pretrained=True,
        )


@pytest.mark.parametrize(
    "settings", [{"size": "tiny"}, {"most_bits": 9}, {"codebook_epochs": -1}, {"size": "0%"}]
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="give"):
        hb.SizeTarget().with_(**settings)
