"""Generators as ONNX in float32: the images of torch, gradients of the replay, hostile graphs."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

import pytest
import torch
from tests.helpers.generators import SHAPE, Own, scrambled
from tests.helpers.nets import artifact_of
from torch import Tensor, nn
from torch.nn import functional as F

import onnx
from hauberk.artifact import Artifact, ArtifactError
from hauberk.evaluation import latency
from hauberk.models.generators import cyclegan_resnet9, pix2pix_unet
from hauberk.onnx import metadata
from hauberk.onnx.agreement import Agreement
from hauberk.onnx.file import OnnxFile
from hauberk.onnx.foreign import ForeignFile
from onnx import helper

pytestmark = pytest.mark.slow


class Upscaler(nn.Module):
    """Super-resolution: nearest and bilinear resizing, PReLU, padding with the border, shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, padding_mode="replicate")
        self.act = nn.PReLU(8)
        self.norm = nn.InstanceNorm2d(8, affine=True)
        self.grouped = nn.ConvTranspose2d(8, 6, 3, padding=1, groups=2, bias=False)
        self.head = nn.Conv2d(6, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        skip = F.interpolate(x, scale_factor=4, mode="bilinear")
        x = self.grouped(self.norm(self.act(self.stem(x))))
        x = F.interpolate(F.silu(x), scale_factor=2, mode="nearest")
        return F.pixel_shuffle(self.head(x), 2) + skip


BUILDS: dict[str, Callable[[], nn.Module]] = {
    "residual": lambda: cyclegan_resnet9(4, blocks=2),
    "unet": lambda: pix2pix_unet(4, levels=3),
    "own": Own,
    "upscaler": Upscaler,
}


@cache
def exported(name: str) -> tuple[nn.Module, OnnxFile]:
    torch.manual_seed(1)
    net = scrambled(BUILDS[name]())
    return net, OnnxFile.encode(artifact_of(net, SHAPE, classes=0), net)


def some(count: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize("name", BUILDS)
def test_the_file_gives_the_images_of_torch_at_any_batch(name: str) -> None:
    net, file = exported(name)
    session = file.session()
    for batch in (1, 2, 7):
        with torch.no_grad():
            want = net(some(batch))
        have = session(some(batch))
        assert have.shape == want.shape == (batch, *file.output_shape)
        assert (have - want).abs().max() <= 1e-5 * want.abs().max()


@pytest.mark.parametrize("name", BUILDS)
def test_the_replay_gives_the_same_images_and_gradients(name: str) -> None:
    net, file = exported(name)
    read = OnnxFile.from_bytes(file.content)
    assert read == file and read.about.classes == 0
    x = some(3).requires_grad_()
    want, have = net(x), read.twin()(x)
    assert (have - want).abs().max() <= 2e-6 * want.abs().max()
    weights = torch.randn(want.shape, generator=torch.Generator().manual_seed(1))
    (ours,) = torch.autograd.grad((have * weights).sum(), x)
    (true,) = torch.autograd.grad((want * weights).sum(), x)
    assert (ours - true).abs().max() <= 2e-5 * true.abs().max() and true.abs().max() > 0


def test_the_ports_are_named_and_sized() -> None:
    _, file = exported("upscaler")
    ports = file.json()
    assert ports["inputs"] == [
        {"name": "images", "dtype": "float32", "shape": ["batch", 3, 32, 32]}
    ]
    assert ports["outputs"] == [
        {"name": "output", "dtype": "float32", "shape": ["batch", 3, 128, 128]}
    ]
    onnx.checker.check_model(onnx.load_model_from_string(file.content), full_check=True)


def test_images_of_another_size() -> None:
    net, _ = exported("residual")
    artifact = artifact_of(net, SHAPE, classes=0)
    file = OnnxFile.encode(artifact, net, image_size=(48, 40))
    assert OnnxFile.from_bytes(file.content).about.input_shape == (3, 48, 40)
    assert file.session()(some(2, (3, 48, 40))).shape == (2, 3, 48, 40)
    for size in ((0, 32), (32, 1 << 20)):
        with pytest.raises(ValueError, match=r"^The image size was given as [^\n]+\.$"):
            OnnxFile.encode(artifact, net, image_size=size)
    with pytest.raises(ValueError, match=r"cannot be written as ONNX [^\n]+\.$"):
        OnnxFile.encode(artifact, net, image_size=(2, 2))


def test_classes_decide_what_a_network_must_give() -> None:
    net, _ = exported("own")
    with pytest.raises(ValueError, match=r"does not give one row of logits[^\n]+\.$"):
        OnnxFile.encode(artifact_of(net, SHAPE), net)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3072, 4))
    with pytest.raises(ValueError, match=r"does not give one image[^\n]+from images to images\.$"):
        OnnxFile.encode(artifact_of(flat, SHAPE, classes=0), flat)
    with pytest.raises(ValueError, match=r"^An image size was given for a classifier[^\n]+\.$"):
        OnnxFile.encode(artifact_of(flat, SHAPE, classes=4), flat, image_size=(64, 64))


class Strange(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.atan(x)


def test_a_generator_needs_no_replay_in_float32() -> None:
    file = OnnxFile.encode(artifact_of(Strange(), SHAPE, classes=0), Strange())
    assert (file.session()(some(2)) - some(2).atan()).abs().max() < 1e-6
    with pytest.raises(ArtifactError, match=r"uses the operator Atan[^\n]+\.$"):
        file.twin()


def test_sessions_of_generators_are_timed_on_one_thread() -> None:
    net, file = exported("residual")
    dense = OnnxFile.encode(artifact_of(net, SHAPE, classes=0), net)
    pair = (each.session(threads=1) for each in (file, dense))
    found = latency(*pair, SHAPE, batches=(1,), repeats=5, threads=1)
    assert found["batch1"].dense_median > 0


def test_sessions_agree_with_the_replay() -> None:
    _, file = exported("unet")
    seen = Agreement.of(file.session(), file.twin(), some(8).split(4))
    assert seen.complaint("it", False) is None
    dim = nn.Sequential(file.twin(), nn.Hardtanh(0, 0.5))
    assert Agreement.of(file.session(), dim, [some(4)]).complaint("it", False)


def edited(change: Callable[[onnx.ModelProto], None], name: str = "residual") -> bytes:
    """A changed file under a checksum that fits."""
    model = onnx.load_model_from_string(exported(name)[1].content)
    change(model)
    content = model.SerializeToString(deterministic=True)
    key = b"hauberk.checksum\x12\x20"
    at = content.index(key) + len(key)
    blank = content[:at] + b"0" * 32 + content[at + 32 :]
    return content[:at] + metadata.digest(blank, "0" * 32).encode() + content[at + 32 :]


def node(model: onnx.ModelProto, kind: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == kind)


def setting(model: onnx.ModelProto, kind: str, name: str, value: list[int]) -> None:
    there = node(model, kind)
    for old in [a for a in there.attribute if a.name == name]:
        there.attribute.remove(old)
    there.attribute.append(helper.make_attribute(name, value))


def great_strides(model: onnx.ModelProto) -> None:
    setting(model, "ConvTranspose", "strides", [1 << 16, 1 << 16])


def great_shape(model: onnx.ModelProto) -> None:
    setting(model, "ConvTranspose", "output_shape", [1 << 20, 1 << 20])


def great_pads(model: onnx.ModelProto) -> None:
    name = node(model, "Pad").input[1]
    pads = next(t for t in model.graph.initializer if t.name == name)
    pads.CopyFrom(helper.make_tensor(name, 7, [8], [0, 0, 1 << 20, 1 << 20, 0, 0, 0, 0]))


def hidden_pads(model: onnx.ModelProto) -> None:
    """Amounts that shape inference cannot see."""
    pads = helper.make_tensor("many", 1, [8], [0.0, 0, 2**20, 2**20, 0, 0, 0, 0])
    model.graph.initializer.append(pads)
    root = helper.make_node("Round", ["many"], ["whole"])
    cast = helper.make_node("Cast", ["whole"], ["hidden"], to=7)
    model.graph.node.insert(0, cast)
    model.graph.node.insert(0, root)
    node(model, "Pad").input[1] = "hidden"


def great_factors(model: onnx.ModelProto) -> None:
    resize = node(model, "Resize")
    model.graph.initializer.append(helper.make_tensor("great", 1, [4], [1, 1, 2.0**20, 2.0**20]))
    resize.input[2] = "great"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (great_strides, "residual"),
        (great_shape, "residual"),
        (great_pads, "residual"),
        (hidden_pads, "residual"),
        (great_factors, "upscaler"),
    ],
)
def test_a_hostile_generator_is_refused(
    change: Callable[[onnx.ModelProto], None], name: str
) -> None:
    with pytest.raises(ArtifactError, match=r"memory|unknown size|ONNX checker") as caught:
        OnnxFile.from_bytes(edited(change, name), "net.onnx")
    assert re.fullmatch(r"net\.onnx [^\n]+\.", str(caught.value))


def test_a_generator_is_no_foreign_classifier() -> None:
    model = onnx.load_model_from_string(exported("own")[1].content)
    model.ClearField("metadata_props")
    file = ForeignFile.from_bytes(model.SerializeToString(), "net.onnx")
    with pytest.raises(ValueError, match=r"instead of one row of logits for each[^\n]+\.$"):
        file.session()


def test_an_artifact_without_classes_is_read_again() -> None:
    artifact = artifact_of(exported("own")[0], SHAPE, classes=0)
    assert Artifact.from_bytes(artifact.content).about.classes == 0
