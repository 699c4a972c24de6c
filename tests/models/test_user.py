"""A user's own network by name, and what its weights were trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import hauberk as hb
from hauberk.models import network

SOURCE = """
import torch
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

def fails():
    raise RuntimeError("no weights here")

def number():
    return 3

ready = build()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the current directory, called by the name that comes back."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    return name


def test_a_function_of_the_current_directory(place: str) -> None:
    before = torch.get_rng_state()
    nets = [network(f"{place}:build", seed=seed) for seed in (0, 0, 1)]
    first, same, other = (net(torch.ones(1, 1, 8, 8)) for net in nets)
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert isinstance(network(f"{place}:ready"), nn.Sequential)
    assert isinstance(network("lenet:1"), nn.Module)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "fails",
            r"failed \(RuntimeError: no weights here\); give a function",
        ),
        ("number", "gave an object of type int; give a function"),
        ("absent", "has no 'absent'"),
    ],
)
def test_what_is_no_network_is_one_sentence(place: str, name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as error:
        network(f"{place}:{name}")
    assert "\n" not in str(error.value)


def test_a_module_that_does_not_import_says_why(place: str) -> None:
    Path(f"{place}_broken.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(ValueError, match="No module named 'nothing_of_this_name'"):
        network(f"{place}_broken:build")


def test_normalised_nets_take_pixels() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    x = torch.rand(2, 3, 8, 8)
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 0.6, 0.7])
    wanted = net((x - mean[:, None, None]) / std[:, None, None])
    inside = hb.Normalized(net, mean.tolist(), std.tolist())
    torch.testing.assert_close(inside(x), wanted)
    assert set(inside.state_dict()) == {f"net.{name}" for name in net.state_dict()}


@pytest.mark.parametrize(("mean", "std"), [([0.5], [0.5, 0.5]), ([], []), ([0.5], [0.0])])
def test_means_that_are_none_are_refused(mean: list[float], std: list[float]) -> None:
    with pytest.raises(ValueError, match="give one number for each channel"):
        hb.Normalized(nn.Identity(), mean, std)
