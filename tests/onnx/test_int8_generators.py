"""Generators in eight bits: a masked one and the slim one give the same images, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import onnxruntime
import pytest
import torch
from tests.helpers.generators import SHAPE, Own, killed, scrambled
from tests.helpers.nets import artifact_of
from torch import Tensor, nn

import onnx
from hauberk.models.generators import cyclegan_resnet9, pix2pix_unet
from hauberk.onnx.agreement import Agreement
from hauberk.onnx.file import OnnxFile
from hauberk.slimming.slim import slim

pytestmark = pytest.mark.slow

Dead = dict[str, list[int] | None]

CASES: dict[str, tuple[Callable[[], nn.Module], Dead]] = {
    "channels, block": (
        lambda: cyclegan_resnet9(4, 2),
        {
            "model.2": [1, 3],
            "model.5": [0, 4],
            "model.10.block.2": None,
            "model.10.block.6": None,
        },
    ),
    "trunk, last block": (
        lambda: cyclegan_resnet9(4, 2),
        {
            "model.8": [0, 5],
            "model.10.block.6": [0, 5],
            "model.11.block.2": None,
            "model.11.block.6": [0, 5],
            "model.13": [2, 3],
        },
    ),
    "unet": (lambda: pix2pix_unet(4, 3), {"down.0.1": [0, 2], "up.0.1": [0, 1, 2, 3]}),
    "own": (Own, {"norm": [0, 1, 2, 4], "inner_norm": [1, 2], "up_norm": [0, 3]}),
}


def some(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


def encoded(net: nn.Module) -> OnnxFile:
    return OnnxFile.encode_int8(artifact_of(net, SHAPE, classes=0), net, some(12))


@cache
def masked(case: str) -> tuple[nn.Module, OnnxFile]:
    """A net with dead channels and its file; the exporter takes seconds, so each is made once."""
    build, dead = CASES[case]
    torch.manual_seed(1)
    net = killed(scrambled(build()), dead)
    if case == "channels, block":
        nn.init.zeros_(net.get_submodule("model.10.block.6").bias)
    return net, encoded(net)


@cache
def own() -> OnnxFile:
    torch.manual_seed(0)
    return encoded(scrambled(Own()))


@pytest.mark.parametrize("case", CASES)
def test_the_slim_generator_is_the_masked_one_in_eight_bits(case: str) -> None:
    net, file = masked(case)
    small = slim(net, some(1))
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in net.parameters())
    files = file, encoded(small)
    x = some(6, seed=3)
    assert torch.equal(*(file.session()(x) for file in files))
    assert torch.equal(*(file.twin()(x) for file in files))
    with torch.no_grad():  # and they compute the network
        want = net(x)
        assert (files[0].session()(x) - want).square().mean().sqrt() < 0.1 * want.std()


@pytest.mark.parametrize("case", ["channels, block", "unet", "own"])
def test_the_file_is_read_again_and_agrees_with_its_replay(case: str) -> None:
    _, file = masked(case)
    read = OnnxFile.from_bytes(file.content)
    assert read == file and read.int8 and read.output_shape == SHAPE
    seen = Agreement.of(read.session(), read.twin(), some(8, seed=4).split(4))
    assert seen.rms is not None and seen.complaint("it", True) is None


def test_eight_bits_take_fewer_bytes_than_floats() -> None:
    for case in ("channels, block", "unet"):
        net, file = masked(case)
        assert file.nbytes < 4 * sum(p.numel() for p in slim(net, some(1)).parameters())
    net = Own()
    assert own().nbytes < OnnxFile.encode(artifact_of(net, SHAPE, classes=0), net).nbytes


def test_convolutions_before_norms_compute_in_integers(tmp_path) -> None:
    net = scrambled(cyclegan_resnet9(4, 1))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "ran.onnx")
    onnxruntime.InferenceSession(encoded(net).content, options)
    ran = [node.op_type for node in onnx.load(tmp_path / "ran.onnx").graph.node]
    assert ran.count("QLinearConv") == 5 and ran.count("ConvTranspose") == 2
    assert ran.count("Conv") + ran.count("FusedConv") == 1  # the last, whose output stays float


def test_signed_activations_have_a_zero_point_inside() -> None:
    model = onnx.load_model_from_string(own().content)
    zeros = [t for t in model.graph.initializer if t.name.endswith("~zero")]
    levels = [int(onnx.numpy_helper.to_array(t)) for t in zeros]
    assert any(0 < level < 255 for level in levels)


def test_groups_of_a_transposed_convolution_share_their_scales() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(4, 6, 2, 2, groups=2)
    ).eval()
    with torch.no_grad():
        net[2].weight[2:].mul_(5)
        net[2].bias[:3].mul_(20)
    out = encoded(net).session()(some(4, seed=2))
    with torch.no_grad():
        want = net(some(4, seed=2))
    assert (out - want).abs().max() <= 0.02 * want.abs().max()


def test_another_function_is_refused() -> None:
    file = own()
    other = nn.Sequential(file.twin(), nn.ReLU())
    says = Agreement.of(file.session(), other, [some(4)]).complaint("net.onnx", True)
    assert says is not None and says.startswith("net.onnx computes different images")
    assert "\n" not in says


class Strange(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.atan(self.conv(x))


def test_bad_input_gets_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"the operator Atan, which has no replay [^\n]+\.$"):
        encoded(Strange().eval())
    net = Own().eval()
    artifact = artifact_of(net, SHAPE, classes=0)
    with pytest.raises(ValueError, match=r"^The calibration images have the shape[^\n]+\.$"):
        OnnxFile.encode_int8(artifact, net, some(2), image_size=(64, 64))
