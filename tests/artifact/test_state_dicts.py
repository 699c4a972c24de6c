"""Weights of another's making."""

from __future__ import annotations

import copy
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

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


WEIGHT = (3, 72)
TYPES: dict[str, tuple[Callable[[], Tensor], str]] = {
    "meta": (lambda: torch.ones(WEIGHT, device="meta"), "without its numbers"),
    "coo": (lambda: torch.eye(3, 72).to_sparse(), "in sparse or nested form"),
    "csr": (lambda: torch.eye(3, 72).to_sparse_csr(), "in sparse or nested form"),
    "quantised": (
        lambda: torch.quantize_per_tensor(torch.ones(WEIGHT), 0.1, 0, torch.qint8),
        "in quantised form",
    ),
    "complex": (lambda: torch.ones(WEIGHT, dtype=torch.complex64), "as complex64"),
    "int8": (lambda: torch.ones(WEIGHT, dtype=torch.int8), "as int8"),
    "bool": (lambda: torch.ones(WEIGHT, dtype=torch.bool), "as bool"),
    "uint16": (lambda: torch.ones(WEIGHT, dtype=torch.uint16), "as uint16"),
    "float64": (lambda: torch.full(WEIGHT, 1e300, dtype=torch.float64), "float32 cannot represent"),
    "float8 NaN": (
        lambda: torch.full(WEIGHT, torch.nan).to(torch.float8_e4m3fn),
        "NaN or infinite",
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", TYPES)
def test_a_type_that_would_change_numbers_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    make, says = TYPES[kind]
    model = net()
    before = copy.deepcopy(model.state_dict())
    torch.save(net(1).state_dict() | {"3.weight": make()}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"w\.pt holds [^\n]*'3\.weight'") as caught:
        fill_plain(model, tmp_path / "w.pt")
    assert says in str(caught.value)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


@pytest.mark.parametrize(
    "dtype",
    [torch.float8_e4m3fn, torch.float8_e5m2, torch.float16, torch.bfloat16, torch.float64],
)
@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_a_float_of_another_width_is_read(tmp_path: Path, dtype: torch.dtype, ending: str) -> None:
    path, weight = tmp_path / f"w.{ending}", torch.linspace(-2, 2, 216).reshape(WEIGHT).to(dtype)
    state = net(1).state_dict() | {"3.weight": weight}
    if ending == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    assert torch.equal(fill_plain(net(), path).state_dict()["3.weight"], weight.float())


def test_whole_numbers_must_stay_the_same(tmp_path: Path) -> None:
    state = net(1).state_dict()
    for count in (torch.tensor(7, dtype=torch.int32), torch.tensor(7.0)):
        torch.save(state | {"1.num_batches_tracked": count}, tmp_path / "w.pt")
        filled = fill_plain(net(), tmp_path / "w.pt").state_dict()
        assert filled["1.num_batches_tracked"].equal(torch.tensor(7))
    torch.save(state | {"1.num_batches_tracked": torch.tensor(7.5)}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match="int64 cannot represent"):
        fill_plain(net(), tmp_path / "w.pt")


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    torch.save(net().state_dict(), tmp_path / "w.pt")
    with (
        zipfile.ZipFile(tmp_path / "w.pt") as plain,
        zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(ValueError, match="is compressed"):
        fill_plain(net(), tmp_path / "packed.pt")
