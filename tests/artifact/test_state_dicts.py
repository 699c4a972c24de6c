"""Weights of another's making."""

from __future__ import annotations

import copy
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hauberk.artifact import fill_plain
from hauberk.artifact.state_dicts import is_plain
from hauberk.models import Normalized
from hauberk.runtime.notes import Note


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


WRAPPINGS: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "net": lambda s: {"net": s, "acc": 91.0},
    "model_state_dict": lambda s: {"model_state_dict": s, "optimizer": {"state": {0: s}}},
    "model.state_dict": lambda s: {"model": {"state_dict": s}, "args": {"lr": 0.1}},
    "an unknown key": lambda s: {"student": s, "epoch": 3},
    "no counters": lambda s: {k: v for k, v in s.items() if "num_batches" not in k},
}


@pytest.mark.parametrize("name", WRAPPINGS)
def test_training_code_keeps_weights_under_many_keys(tmp_path: Path, name: str) -> None:
    state = net(1).state_dict()
    torch.save(WRAPPINGS[name](state), tmp_path / "w.PTH.Tar")
    assert is_plain(tmp_path / "w.PTH.Tar")
    filled = fill_plain(net(), tmp_path / "w.PTH.Tar").state_dict()
    assert all(torch.equal(t, state[name]) for name, t in filled.items())


RENAMED: dict[str, Callable[[str], str]] = {
    "module": lambda n: f"module.{n}",
    "compiled": lambda n: f"_orig_mod.{n}",
    "Lightning": lambda n: f"model.{n}",
    "two wrappers": lambda n: f"module._orig_mod.net.{n}",
    "a wrapper within": lambda n: n.replace("3.", "3.module."),
}


@pytest.mark.parametrize("name", RENAMED)
@pytest.mark.parametrize("more", [False, True])
def test_prefixes_are_matched_and_noted(tmp_path: Path, name: str, more: bool) -> None:
    """A criterion beside the net, in a Lightning checkpoint, is left out and named."""
    state = net(1).state_dict()
    renamed = {RENAMED[name](n): t for n, t in state.items()}
    prefixed = name != "a wrapper within"
    if more and prefixed:
        renamed["criterion.weight"] = torch.ones(3)
    torch.save({"state_dict": renamed}, tmp_path / "w.ckpt")
    said = "left out .criterion" if more and prefixed else "lost the prefix|names were matched"
    with pytest.warns(Note, match=said):
        filled = fill_plain(net(), tmp_path / "w.ckpt").state_dict()
    assert all(torch.equal(t, state[name]) for name, t in filled.items())


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "net.", "module.net."])
def test_a_normalised_net_takes_weights_of_the_net_and_its_own(tmp_path: Path, prefix: str) -> None:
    state = net(1).state_dict()
    torch.save({prefix + n: t for n, t in state.items()}, tmp_path / "w.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)
        filled = fill_plain(Normalized(net(), [0.5], [0.5]), tmp_path / "w.pt")
    assert all(
        torch.equal(t, state[n]) for n, t in filled.get_submodule("net").state_dict().items()
    )


def test_a_choice_of_weights_is_noted_or_asked_for(tmp_path: Path) -> None:
    state, other = net(1).state_dict(), net(2).state_dict()
    torch.save({"ema": other, "model": state}, tmp_path / "w.pt")
    with pytest.warns(Note, match="under 'model' are taken, not those under 'ema'"):
        filled = fill_plain(net(), tmp_path / "w.pt").state_dict()
    assert torch.equal(filled["3.weight"], state["3.weight"])
    both = {f"g.{n}": t for n, t in state.items()} | {f"f.{n}": t for n, t in other.items()}
    torch.save(both, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"several prefixes, 'g\.' and 'f\.'; save those of one\."):
        fill_plain(net(), tmp_path / "w.pt")
    torch.save({"a": state, "b": other, "epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(
        ValueError, match="not hold a state_dict of tensors; its keys are a, b, epoch"
    ):
        fill_plain(net(), tmp_path / "w.pt")


def test_modules_and_scripts_are_answered_with_the_line_that_saves(tmp_path: Path) -> None:
    torch.save(net(), tmp_path / "whole.pt")
    with pytest.raises(ValueError, match=r"a whole module; save .*torch\.save\(net\.state_dict"):
        fill_plain(net(), tmp_path / "whole.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(net()), str(tmp_path / "script.pt"))
    with pytest.raises(ValueError, match=r"TorchScript.*torch\.jit\.load\(.*\)\.state_dict\(\)"):
        fill_plain(net(), tmp_path / "script.pt")
    torch.save({"state_dict": net().state_dict(), "best": np.float64(91)}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match="more than tensors, such as numpy"):
        fill_plain(net(), tmp_path / "w.pt")


def test_names_on_both_sides_stand_side_by_side(tmp_path: Path) -> None:
    state = {n.replace("3.", "fc.").replace("1.", "bn."): t for n, t in net().state_dict().items()}
    torch.save(state, tmp_path / "w.bin")
    with pytest.raises(ValueError, match=r"1\.weight is missing .*bn\.weight is not in the model"):
        fill_plain(net(), tmp_path / "w.bin")


def test_a_layer_of_another_network_is_no_prefix(tmp_path: Path) -> None:
    torch.save(net().state_dict(), tmp_path / "w.pt")
    with pytest.raises(ValueError, match="does not fit the model"):
        fill_plain(nn.Sequential(nn.Flatten(), nn.Linear(72, 3)), tmp_path / "w.pt")


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
