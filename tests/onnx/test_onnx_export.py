"""The exported graph computes what torch does, is plain, and is replayed in torch."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from tests.helpers.nets import artifact_of
from tests.helpers.onnx_files import exported, images, tiny_artifact
from torch import Tensor, nn

import onnx
from hauberk import models
from hauberk.onnx import export, guards
from hauberk.onnx import file as module
from hauberk.onnx.file import OnnxFile
from hauberk.onnx.session import Session

pytestmark = pytest.mark.slow


SPECS = ("caffe-lenet", "lenet:1", "digits-cnn", "resnet18:1", "wrn:10,1")


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


@pytest.mark.parametrize("net", [Branching(), OneBatch(), TwoOutputs(), Singular()])
def test_a_network_that_cannot_be_exported_gets_one_sentence(
    net: nn.Module, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="cannot be written as ONNX") as caught:
        OnnxFile.encode(tiny_artifact()[0], net)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert str(caught.value).endswith(".")
    assert capfd.readouterr() == ("", "")


def test_what_has_no_replay_is_exported_for_other_runtimes() -> None:
    file = OnnxFile.encode(tiny_artifact()[0], Strange())
    assert file.blind == "its graph uses the operator Atan, which has no replay in torch"


def test_other_logits_than_torch_s_are_refused() -> None:
    net, file = exported("lenet:1")
    session, about = Session(file.content), file.about
    module._compare(session, net, about)
    other = models.build("lenet:1", seed=3)
    with pytest.raises(ValueError, match="different logits"):
        module._compare(session, other, about)
    with pytest.raises(ValueError, match="different logits"):
        module._compare(session, models.build("lenet:1,classes=5"), about)


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, file = exported("lenet:1")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=r"pip install 'hauberk\[onnx\]'") as caught:
        OnnxFile.encode(artifact_of(net, file.about.input_shape), net)
    assert f"package {package} " in str(caught.value)


def test_a_network_too_large_for_a_protobuf_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    net, file = exported("lenet:1")
    monkeypatch.setattr(module, "LARGEST_FILE", 1000)
    with pytest.raises(ValueError, match="1,000"):
        OnnxFile.encode(artifact_of(net, file.about.input_shape), net)


def test_tracing_keeps_to_itself() -> None:
    model = export.trace(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), (1, 8, 8))
    assert not model.metadata_props and not any(n.metadata_props for n in model.graph.node)
    assert guards.complaint(model, (1, 8, 8)) is None
    assert "does not take" in (guards.complaint(model, (1, 9, 9)) or "")
