"""Weights of another's making."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hauberk.artifact import fill_plain


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 3))


@pytest.mark.parametrize("ending", ["safetensors", "pt", "pth"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_state_comes_back(tmp_path: Path, ending: str, wrapped: bool) -> None:
    path, state = tmp_path / f"w.{ending}", net(1).state_dict()
    if ending == "safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if wrapped else state, path)
    filled = fill_plain(net(), path)
    assert all(torch.equal(t, state[name]) for name, t in filled.state_dict().items())


def test_what_differs_is_listed_and_the_model_stays(tmp_path: Path) -> None:
    model, state = net(), net(1).state_dict()
    before = copy.deepcopy(model.state_dict())
    del state["0.bias"]
    state["3.weight"], state["extra"] = torch.zeros(3, 5), torch.zeros(1)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"0\.bias is missing.*3\.weight is.*extra is not") as e:
        fill_plain(model, tmp_path / "w.safetensors")
    assert "give weights of the same architecture." in str(e.value)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("touched"),))


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"0.weight": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Evil()))
    for name in ("evil.pt", "old.pt"):
        with pytest.raises(ValueError, match="damaged, or holds more than tensors"):
            fill_plain(net(), tmp_path / name)
    assert not Path("touched").exists()


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x08" + b"\0" * 7 + b"{}      ", b"PK\x03\x04"]
)
@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_damage_is_one_sentence(tmp_path: Path, content: bytes, ending: str) -> None:
    path = tmp_path / f"w.{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"w\.\w+ (is damaged|does not fit)[^\n]+\.$"):
        fill_plain(net(), path)


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    state = net().state_dict()
    state["3.bias"][0] = torch.nan
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"NaN or infinite numbers in '3\.bias'"):
        fill_plain(net(), tmp_path / "w.safetensors")
    with pytest.raises(OSError, match="does not exist"):
        fill_plain(net(), tmp_path / "none.pt")
