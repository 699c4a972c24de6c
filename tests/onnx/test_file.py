"""The ONNX file computes what torch does, is replayed in torch, and trusts nobody's bytes."""

from __future__ import annotations

import contextlib
import random
import re
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.helpers.nets import alive, artifact_of
from torch import Tensor, nn

import onnx
from hauberk import models
from hauberk.artifact import Artifact, ArtifactError
from hauberk.onnx import export, guards
from hauberk.onnx import file as module
from hauberk.onnx.file import OnnxFile
from hauberk.onnx.session import Session
from onnx import TensorProto, helper

pytestmark = pytest.mark.slow

SPECS = ("caffe-lenet", "lenet:1", "digits-cnn", "resnet18:1", "wrn:10,1")


@cache
def exported(spec: str) -> tuple[nn.Module, OnnxFile]:
    """A network by name and its ONNX file; the exporter takes seconds, so each is made once."""
    net = alive(models.build(spec))
    shape = models.FAMILIES[spec.partition(":")[0]].input_shape
    return net, OnnxFile.encode(artifact_of(net, shape), net)


@cache
def tiny_artifact() -> tuple[Artifact, nn.Module]:
    """Few weights, so that mutations hit the graph; they take several forms in the file."""
    layers = (nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    net = alive(nn.Sequential(*layers, nn.Linear(18, 40), nn.ReLU(), nn.Linear(40, 4)))
    with torch.no_grad():
        net[5].weight.copy_(net[5].weight * 8).round_().div_(8)
        net[7].weight.copy_(torch.where(net[7].weight > 0.12, 0.25, 0.0))
    return artifact_of(net, (1, 8, 8), 4), net


@cache
def tiny() -> OnnxFile:
    return OnnxFile.encode(*tiny_artifact())


def images(file: OnnxFile, batch: int) -> Tensor:
    rng = torch.Generator().manual_seed(batch)
    return torch.rand(batch, *file.about.input_shape, generator=rng)


@pytest.mark.parametrize("spec", SPECS)
def test_the_file_computes_what_torch_does_at_any_batch(spec: str) -> None:
    net, file = exported(spec)
    session = Session(file.content)
    for batch in (1, 2, 7, 33):
        x = images(file, batch)
        with torch.no_grad():
            want = net(x)
        assert session(x).shape == want.shape == (batch, 10)
        assert (session(x) - want).abs().max() <= 1e-5 * want.abs().max()


@pytest.mark.parametrize("spec", SPECS)
def test_the_graph_is_plain_and_whole(spec: str) -> None:
    _, file = exported(spec)
    model = onnx.load_model_from_string(file.content)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == file.opset >= 20
    assert {node.domain for node in model.graph.node} == {""} and not model.functions
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert model.producer_name == "hauberk" and model.producer_version
    for trace in (b"site-packages", b"stack_trace", str(Path.home()).encode() + b"/"):
        assert trace not in file.content


@pytest.mark.parametrize("spec", SPECS)
def test_the_twin_computes_the_same_logits_and_gradients(spec: str) -> None:
    net, file = exported(spec)
    read = OnnxFile.from_bytes(file.content)
    assert read == file
    twin, x = read.twin(), images(file, 3).requires_grad_()
    want, have = net(x), twin(x)
    assert (have - want).abs().max() <= 1e-6 * want.abs().max()
    weights = torch.randn(want.shape, generator=torch.Generator().manual_seed(1))
    (ours,) = torch.autograd.grad((have * weights).sum(), x)
    (true,) = torch.autograd.grad((want * weights).sum(), x)
    assert (ours - true).abs().max() <= 1e-5 * true.abs().max() and true.abs().max() > 0


def test_exporting_is_silent_deterministic_and_leaves_the_network_alone(
    capfd: pytest.CaptureFixture[str],
) -> None:
    _, file = exported("lenet:1")
    mine = models.build("lenet:1").train()
    random_state = torch.get_rng_state()
    again = OnnxFile.encode(artifact_of(mine, (1, 28, 28)), mine)
    assert again.content == file.content
    assert mine.training and all(p.requires_grad for p in mine.parameters())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert capfd.readouterr() == ("", "")


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return flat[:, :4] if x.sum() > 0 else flat[:, 4:8]


class OneBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(2, -1)[:, :4]


class TwoOutputs(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flatten(1)[:, :4], x


class Singular(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        values: Tensor = torch.linalg.svdvals(x)
        return values.flatten(1)


class Strange(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.atan(x.flatten(1))


@pytest.mark.parametrize("net", [Branching(), OneBatch(), TwoOutputs(), Singular(), Strange()])
def test_a_network_that_cannot_be_exported_gets_one_sentence(
    net: nn.Module, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="cannot be written as ONNX") as caught:
        OnnxFile.encode(tiny_artifact()[0], net)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert str(caught.value).endswith(".")
    assert capfd.readouterr() == ("", "")


def test_other_logits_than_torch_s_are_refused() -> None:
    net, file = exported("lenet:1")
    session = Session(file.content)
    module._compare(session, net, (1, 28, 28))
    other = models.build("lenet:1", seed=3)
    with pytest.raises(ValueError, match="other logits"):
        module._compare(session, other, (1, 28, 28))
    with pytest.raises(ValueError, match="other logits"):
        module._compare(session, models.build("lenet:1,classes=5"), (1, 28, 28))


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, file = exported("lenet:1")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=r"pip install 'hauberk\[onnx\]'") as caught:
        OnnxFile.encode(artifact_of(net, file.about.input_shape), net)
    assert f"package {package} " in str(caught.value)


def test_a_network_too_large_for_a_protobuf_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    net, file = exported("lenet:1")
    monkeypatch.setattr(module, "_LARGEST_FILE", 1000)
    with pytest.raises(ValueError, match="1,000"):
        OnnxFile.encode(artifact_of(net, file.about.input_shape), net)


def test_save_and_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tiny()
    path = tmp_path / "deep" / "model.onnx"
    file.save(path)
    assert OnnxFile.load(path) == file and path.stat().st_size == file.json()["bytes"]
    assert [p.name for p in path.parent.iterdir()] == ["model.onnx"]
    with pytest.raises(OSError, match=r"could not be written .*\."):
        file.save(path / "below")
    monkeypatch.setattr(module, "_LARGEST_FILE", 100)
    with pytest.raises(OSError, match=r"more than an \.onnx file may have"):
        OnnxFile.load(path)


@pytest.mark.parametrize("path", ["none.onnx", ".", "/dev/zero"])
def test_what_is_no_file_is_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"give an \.onnx file"):
        OnnxFile.load(tmp_path / path)


def foreign() -> bytes:
    """An ONNX file of somebody else's."""
    model = onnx.load_model_from_string(tiny().content)
    model.ClearField("metadata_props")
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: b"", "not written by hauberk"),
        (lambda: b"not a protobuf at all", "no ONNX file"),
        (lambda: random.Random(0).randbytes(5000), "no ONNX file"),
        (lambda: tiny_artifact()[0].content, "no ONNX file"),
        (foreign, "not written by hauberk"),
        (lambda: tiny().content[:-100], "no ONNX file"),
        (lambda: tiny().content + b"\0", "no ONNX file"),
    ],
)
def test_a_file_that_is_not_ours_gets_one_sentence(make: Callable[[], bytes], says: str) -> None:
    with pytest.raises(ArtifactError, match=says) as caught:
        OnnxFile.from_bytes(make(), "net.onnx")
    assert re.fullmatch(r"net\.onnx [^\n]+\.", str(caught.value))


def signed(content: bytes) -> bytes:
    """The same content under a checksum that fits."""
    key = b"hauberk.checksum\x12\x20"
    at = content.index(key) + len(key)
    blank = content[:at] + b"0" * 32 + content[at + 32 :]
    return content[:at] + module._digest(blank, "0" * 32).encode() + content[at + 32 :]


def edited(change: Callable[[onnx.ModelProto], None]) -> bytes:
    model = onnx.load_model_from_string(tiny().content)
    change(model)
    return signed(model.SerializeToString(deterministic=True))


def note(model: onnx.ModelProto, key: str, text: str | None) -> None:
    """Write another text, or none."""
    (entry,) = (entry for entry in model.metadata_props if entry.key == f"hauberk.{key}")
    if text is None:
        model.metadata_props.remove(entry)
    else:
        entry.value = text


def test_signing_is_what_the_file_says() -> None:
    assert signed(tiny().content) == tiny().content == edited(lambda model: None)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("version", "1"),
        ("version", None),
        ("architecture", "{"),
        ("architecture", None),
        ("input_shape", "[1,0,8]"),
        ("input_shape", "é"),
        ("classes", "many"),
        ("dense_bytes", "0"),
        ("dense_bytes", None),
    ],
)
def test_damaged_notes_are_named(key: str, text: str | None) -> None:
    content = edited(lambda model: note(model, key, text))
    with pytest.raises(ArtifactError, match=r"^net\.onnx has (format version|notes)[^\n]+\.$"):
        OnnxFile.from_bytes(content, "net.onnx")


def unknown(model: onnx.ModelProto) -> None:
    (relu, *_) = (node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type = "Atan"


def test_an_operator_that_is_not_known_here_gets_one_sentence() -> None:
    file = OnnxFile.from_bytes(edited(unknown), "net.onnx")
    with pytest.raises(ArtifactError, match=r"^net\.onnx uses the operator Atan[^\n]+\.$"):
        file.twin("net.onnx")


def not_a_number(model: onnx.ModelProto) -> None:
    (bias,) = (t for t in model.graph.initializer if list(t.dims) == [4])
    bias.raw_data = np.full(4, np.nan, np.float32).tobytes()


def test_weights_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ArtifactError, match=r"^net\.onnx holds NaN or infinite weights"):
        OnnxFile.from_bytes(edited(not_a_number)).twin("net.onnx")


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def constant(model: onnx.ModelProto) -> None:
    value = helper.make_tensor("c", 1, [1], [0.0])
    value.data_location = TensorProto.EXTERNAL
    value.external_data.add(key="location", value="../weights")
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=value))


def branch(model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], [], body=body))


def domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.microsoft"


def function(model: onnx.ModelProto) -> None:
    model.functions.add(name="f", domain="")


def huge(model: onnx.ModelProto) -> None:
    shape = helper.make_tensor("huge_shape", TensorProto.INT64, [1], [1 << 40])
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("ConstantOfShape", ["huge_shape"], ["huge"]))


def renamed(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "elsewhere"


def fixed(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1


def dangling(model: onnx.ModelProto) -> None:
    model.graph.node[1].input[0] = "nowhere"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (external, "other files"),
        (constant, "other files"),
        (branch, "branches or loops"),
        (domain, "not ONNX's own"),
        (function, "not ONNX's own"),
        (huge, "memory"),
        (renamed, "does not take"),
        (fixed, "does not give"),
        (dangling, "ONNX checker"),
    ],
)
def test_a_hostile_graph_is_refused(change: Callable[[onnx.ModelProto], None], says: str) -> None:
    with pytest.raises(ArtifactError, match=says) as caught:
        OnnxFile.from_bytes(edited(change), "net.onnx")
    assert re.fullmatch(r"net\.onnx [^\n]+\.", str(caught.value))


def mutated(content: bytes, end: int, rng: random.Random) -> bytes:
    """A few bytes before ``end`` flipped, overwritten, removed, added or moved, or the rest cut."""
    x = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if len(x) < 20:
            break
        at = rng.randrange(min(end, len(x) - 1))
        match rng.randrange(6):
            case 0:
                x[at] ^= 1 << rng.randrange(8)
            case 1:
                x[at] = rng.choice((0, 1, 127, 128, 255))
            case 2:
                del x[at : at + rng.randrange(1, 9)]
            case 3:
                x[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 4:
                there, size = rng.randrange(end), rng.randrange(1, 20)
                x[at : at + size] = x[there : there + size]
            case _ if end == len(content):
                del x[max(at, 2) :]
    return bytes(x)


def test_mutated_files_are_refused_or_compute_the_same() -> None:
    file, rng, refused = tiny(), random.Random(0), 0
    x, start = images(file, 5), time.monotonic()
    want = Session(file.content)(x)
    for _ in range(400):
        content = mutated(file.content, len(file.content), rng)
        try:
            OnnxFile.from_bytes(content, "net.onnx")
        except ArtifactError as error:
            assert re.fullmatch(r"net\.onnx [^\n]+\.", str(error))
            refused += 1
        else:
            assert torch.equal(Session(content)(x), want)
    assert refused > 380
    assert time.monotonic() - start < 20


def test_mutated_graphs_under_a_forged_checksum_are_refused_or_run() -> None:
    file, rng, outcomes = tiny(), random.Random(1), {"refused": 0, "ran": 0}
    x, start = images(file, 5), time.monotonic()
    for _ in range(600):
        content = mutated(file.content, file.content.index(b"hauberk.version") - 4, rng)
        try:
            twin = OnnxFile.from_bytes(signed(content)).twin()
            assert len(Session(content)(x)) == 5
            with contextlib.suppress(RuntimeError, LookupError, TypeError):  # what `agree` refuses
                assert len(twin(x)) == 5
            outcomes["ran"] += 1
        except ValueError as error:
            assert type(error) in (ValueError, ArtifactError)
            assert str(error).isprintable() and str(error).endswith(".")
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20, outcomes
    assert time.monotonic() - start < 20


def test_tracing_keeps_to_itself() -> None:
    model = export.trace(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), (1, 8, 8))
    assert not model.metadata_props and not any(n.metadata_props for n in model.graph.node)
    assert guards.complaint(model, (1, 8, 8)) is None
    assert "does not take" in (guards.complaint(model, (1, 9, 9)) or "")
