"""The file: exact, as large as it says, whole or absent, never anything else."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from hauberk.artifact import Architecture, Artifact, ArtifactError, table
from hauberk.parametrize.factors import Factors


def net() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)
    )
    model(torch.rand(8, 1, 8, 8))  # running statistics
    with torch.no_grad():
        for layer in (model[0], model[4]):
            layer.weight[layer.weight.abs() < layer.weight.abs().quantile(0.8)] = 0
    return model


def encode(state: dict[str, Tensor | Factors]) -> Artifact:
    named = Architecture("digits-cnn", {"classes": 10, "width": 1.5, "norm": "batch"})
    return Artifact.encode(state, architecture=named, input_shape=(1, 8, 8), classes=10)


@pytest.fixture
def artifact() -> Artifact:
    return encode(net().state_dict())


def test_save_load_state_fill(tmp_path: Path, artifact: Artifact) -> None:
    path = tmp_path / "new" / "model.hbk"
    artifact.save(path)
    assert artifact.nbytes == os.path.getsize(path)  # noqa: PTH202
    loaded = Artifact.load(path)
    assert loaded == artifact
    assert loaded.about.architecture == artifact.about.architecture
    assert (loaded.about.input_shape, loaded.about.classes) == ((1, 8, 8), 10)
    want, have = net().state_dict(), loaded.state()
    assert list(want) == list(have)
    assert all(want[n].dtype == have[n].dtype and torch.equal(want[n], have[n]) for n in want)
    fresh = loaded.fill(nn.Sequential(*[_fresh(layer) for layer in net()]))
    x = torch.rand(4, 1, 8, 8)
    assert not fresh.training
    assert torch.equal(fresh(x), net().eval()(x))


def _fresh(layer: nn.Module) -> nn.Module:
    for child in layer.modules():
        if hasattr(child, "reset_parameters"):
            child.reset_parameters()
    return layer


def test_equal_states_give_equal_files(artifact: Artifact) -> None:
    assert encode(net().state_dict()).content == artifact.content


def test_the_container_is_safetensors(tmp_path: Path, artifact: Artifact) -> None:
    artifact.save(tmp_path / "m.hbk")
    with safe_open(tmp_path / "m.hbk", "pt") as file:
        meta = file.metadata()
        assert file.keys() == ["payload"]
        assert file.get_tensor("payload").dtype == torch.uint8
    assert (meta["format"], meta["version"]) == ("hauberk", "2")
    assert json.loads(meta["architecture"])["name"] == "digits-cnn"


def test_without_architecture() -> None:
    made = Artifact.encode({}, architecture=None, input_shape=(3,), classes=2)
    again = Artifact.from_bytes(made.content)
    assert again.about.architecture is None
    assert again.state() == {}


def test_overhead_and_layers(artifact: Artifact) -> None:
    layers = {layer.name: layer for layer in artifact.layers()}
    assert list(layers) == list(net().state_dict())
    conv = layers["0.weight"]
    assert (conv.shape, conv.rank, conv.weights) == ((4, 1, 3, 3), None, 36)
    assert conv.kept == int((net()[0].weight != 0).sum())
    assert 0 < artifact.nbytes - sum(layer.nbytes for layer in layers.values()) <= 608, "header"
    assert sum(layer.share for layer in layers.values()) < 1
    floats = [t for t in net().state_dict().values() if t.is_floating_point()]
    assert artifact.dense_bytes == 4 * sum(t.numel() for t in floats)


def test_tied_tensors_are_stored_once() -> None:
    tied = nn.Linear(50, 50).weight.data
    other = nn.Linear(50, 50).bias.data
    made = encode({"a": tied, "b": other, "c": tied, "d": tied.T})
    state = made.state()
    assert state["a"] is state["c"]
    assert torch.equal(state["d"], tied.T)
    assert [layer.name for layer in made.layers()] == ["a", "b", "d"]
    assert made.dense_bytes == 4 * (2500 + 50 + 2500)


def test_tied_factors_are_stored_once() -> None:
    low = Factors(torch.randn(40, 1), torch.randn(1, 40), torch.zeros(40, 40), (40, 40))
    made = encode({"a": low, "b": low})
    assert [(layer.name, layer.rank) for layer in made.layers()] == [("a", 1)]
    assert torch.equal(made.state()["b"], low.dense())


def test_fill_lists_the_first_five_differences(artifact: Artifact) -> None:
    with pytest.raises(ValueError, match=r"0\.weight is .* in the model; .* and \d+ more; give"):
        artifact.fill(nn.Sequential(*[nn.Linear(3, 3) for _ in range(6)]))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("shape", "classes", "arguments"),
    [((1, 0), 10, {}), ((1, 8), -1, {}), ((1, 8), 10, {"a": float("nan")}), ((1.5,), 10, {})],
)
def test_odd_headers_are_refused(
    shape: tuple[int, ...], classes: int, arguments: dict[str, float]
) -> None:
    named = Architecture("a", arguments)
    with pytest.raises(ValueError, match="; give"):
        Artifact.encode({}, architecture=named, input_shape=shape, classes=classes)


def test_a_state_that_a_reader_would_refuse_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = torch.zeros(1000, 1000)
    assert torch.equal(encode({"w": empty}).state()["w"], empty)
    monkeypatch.setattr(table, "_FREE_BYTES", 0)
    with pytest.raises(ValueError, match="keep more weights"):
        encode({"w": empty})


def test_missing_empty_foreign(tmp_path: Path, artifact: Artifact) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Artifact.load(tmp_path / "none.hbk")
    with pytest.raises(OSError, match="is not a file"):
        Artifact.load(tmp_path)
    with pytest.raises(OSError, match="is not a file"):
        Artifact.load("/dev/zero")
    path = tmp_path / "x.hbk"
    for content, says in (
        (b"", "is empty"),
        (b"abc", "ends after 3 bytes"),
        (b"\x80\x04" + b"pickle" * 99, "is not a hauberk file"),
        (b"\xff" * 8 + b"{" * 90, "is not a hauberk file"),
        ((2).to_bytes(8, "little") + b"{}", "is not a hauberk file"),
        (artifact.content[:100], "is cut off"),
        (artifact.content[:-1], "is damaged"),
        (artifact.content.replace(b'"version":"2"', b'"version":"9"'), "format version '9'"),
    ):
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match=says) as caught:
            Artifact.load(path)
        assert str(caught.value).startswith(str(path))


def test_a_file_without_the_right_to_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, artifact: Artifact
) -> None:
    def deny(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    artifact.save(tmp_path / "m.hbk")
    monkeypatch.setattr(os, "open", deny)
    with pytest.raises(OSError, match=r"could not be read \(Permission denied\)\."):
        Artifact.load(tmp_path / "m.hbk")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, artifact: Artifact
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "m.hbk"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"could not be written \(No space left on device\)"):
        artifact.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["m.hbk"]
    assert path.read_bytes() == b"old"


def test_a_folder_that_cannot_be_written(tmp_path: Path, artifact: Artifact) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="could not be written"):
        artifact.save(tmp_path / "file" / "m.hbk")


def test_a_save_killed_before_the_rename_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, artifact: Artifact
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    path = tmp_path / "m.hbk"
    path.write_bytes(b"old")
    monkeypatch.setattr(Path, "replace", kill)
    with pytest.raises(Killed):
        artifact.save(path)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x1f\x8b" + bytes(20), "compressed by gzip and not a hauberk file; unpack it first"),
        (b"PK\x03\x04" + bytes(20), "a zip file and not a hauberk file; .*an ending such as .pt"),
    ],
)
def test_files_of_other_kinds_say_what_they_are(content: bytes, says: str) -> None:
    with pytest.raises(ArtifactError, match=says):
        Artifact.from_bytes(content)
