"""Generators in eight bits: a masked one and the slim one give the same images, to the bit."""

from __future__ import annotations

from collections.abc import Callable

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
    "channels": (lambda: cyclegan_resnet9(8, 1), {"model.2": [1, 3], "model.5": [0, 4, 9]}),
    "block": (lambda: cyclegan_resnet9(4, 2), {"model.10.block.2": None, "model.10.block.6": None}),
    "last block": (lambda: cyclegan_resnet9(4, 2), {"model.11.block.2": None, "model.13": [2, 3]}),
    "trunk": (
        lambda: cyclegan_resnet9(4, 2),
        {"model.8": [0, 5], "model.10.block.6": [0, 5], "model.11.block.6": [0, 5]},
    ),
    "unet": (lambda: pix2pix_unet(4, 3), {"down.0.1": [0, 2], "up.0.1": [0, 1, 2, 3]}),
    "own": (Own, {"norm": [0, 1, 2, 4], "inner_norm": [1, 2], "up_norm": [0, 3]}),
}


def some(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


def encoded(net: nn.Module) -> OnnxFile:
    return OnnxFile.encode_int8(artifact_of(net, SHAPE, classes=0), net, some(12))


@pytest.mark.parametrize("case", CASES)
def test_the_slim_generator_is_the_masked_one_in_eight_bits(case: str) -> None:
    build, dead = CASES[case]
    torch.manual_seed(1)
    masked = killed(scrambled(build()), dead)
    if case == "block":
        nn.init.zeros_(masked.get_submodule("model.10.block.6").bias)
    small = slim(masked, some(1))
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in masked.parameters())
    files = encoded(masked), encoded(small)
    x = some(6, seed=3)
    assert torch.equal(*(file.session()(x) for file in files))
    assert torch.equal(*(file.twin()(x) for file in files))
    with torch.no_grad():  # and they compute the network
        want = masked(x)
        assert (files[0].session()(x) - want).square().mean().sqrt() < 0.1 * want.std()


@pytest.mark.parametrize("case", ["channels", "unet", "own"])
def test_the_file_is_read_again_and_agrees_with_its_replay(case: str) -> None:
    file = encoded(scrambled(CASES[case][0]()))
    read = OnnxFile.from_bytes(file.content)
    assert read == file and read.int8 and read.output_shape == SHAPE
    seen = Agreement.of(read.session(), read.twin(), some(8, seed=4).split(4))
    assert seen.rms is not None and seen.complaint("it", True) is None
    assert read.nbytes < OnnxFile.encode(artifact_of(n := CASES[case][0](), SHAPE, 0), n).nbytes


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
    model = onnx.load_model_from_string(encoded(scrambled(Own())).content)
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
    file = encoded(scrambled(Own()))
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
