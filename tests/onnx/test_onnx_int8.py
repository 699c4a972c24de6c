"""Eight bits: ONNX Runtime multiplies whole numbers, and the torch twin rounds where it does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from tests.helpers.nets import alive, artifact_of
from torch import Tensor, nn

import onnx
from hauberk import models
from hauberk.constraints import UniformGrid
from hauberk.onnx import export
from hauberk.onnx.agreement import Agreement
from hauberk.onnx.file import OnnxFile
from hauberk.onnx.int8 import quantize, ranges
from hauberk.onnx.session import Session
from onnx import numpy_helper

pytestmark = pytest.mark.slow

SHAPES = {"digits-cnn": (1, 8, 8), "resnet18:1": (3, 32, 32), "wrn:10,1": (3, 32, 32)}


def some(shape: tuple[int, ...], count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


@cache
def exported(spec: str) -> tuple[nn.Module, OnnxFile]:
    net = alive(models.build(spec))
    return net, OnnxFile.encode_int8(artifact_of(net, SHAPES[spec]), net, some(SHAPES[spec], 100))


@pytest.mark.parametrize("spec", SHAPES)
def test_session_and_twin_agree_on_other_images(spec: str) -> None:
    net, file = exported(spec)
    read = OnnxFile.from_bytes(file.content)
    assert read == file and file.int8 and file.json()["computes"] == "int8"
    x = some(SHAPES[spec], 200, seed=1)
    seen = Agreement.of(Session(file.content), file.twin(), x.split(50))
    assert seen.complaint("it", True) is None and seen.same >= 199
    with torch.no_grad():
        apart = (net(x) - file.twin()(x)).abs().max()
        assert 0 < apart < 0.2 * net(x).abs().max()


@pytest.mark.parametrize("spec", SHAPES)
def test_the_runtime_computes_in_eight_bits(spec: str, tmp_path: Path) -> None:
    _, file = exported(spec)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "ran.onnx")
    onnxruntime.InferenceSession(file.content, options)
    ran = Counter(node.op_type for node in onnx.load(tmp_path / "ran.onnx").graph.node)
    assert not ran["Conv"] and not ran["Gemm"] and not ran["FusedConv"]
    assert ran["QLinearConv"] == sum(
        isinstance(layer, nn.Conv2d) for layer in exported(spec)[0].modules()
    )
    assert ran["QGemm"] == sum(isinstance(m, nn.Linear) for m in exported(spec)[0].modules())


def test_the_twin_lets_the_gradient_by() -> None:
    net, file = exported("digits-cnn")
    x = some((1, 8, 8), 5, seed=2).requires_grad_()
    grads = [torch.autograd.grad(f(x)[:, 3].sum(), x)[0].flatten(1) for f in (net, file.twin())]
    alike = torch.cosine_similarity(*grads)
    assert alike.min() > 0.8, alike


def test_a_small_file_stays_small() -> None:
    net = alive(models.build("digits-cnn"))
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(p.abs() >= p.abs().flatten().kthvalue(int(0.95 * p.numel()) or 1).values)
            p.copy_(torch.where(p == 0, torch.zeros(()), p))
    weights = sum(p.numel() for p in net.parameters())
    file = OnnxFile.encode_int8(artifact_of(net, (1, 8, 8)), net, some((1, 8, 8), 50))
    assert file.nbytes < 0.3 * weights


def layers(*, bias: bool) -> nn.Module:
    net = nn.Sequential(nn.Conv2d(1, 4, 3, bias=bias), nn.Flatten(), nn.Linear(144, 3, bias=bias))
    with torch.no_grad():
        net[0].weight[1] = 0
        net[2].weight.mul_(1e-9) if not bias else net[2].weight[0].mul_(1e-12)
    return net.eval()


@pytest.mark.parametrize("bias", [False, True])
def test_dead_channels_and_negative_values(bias: bool) -> None:
    """No activation is positive only: the zero point is inside; a tiny row keeps its bias."""
    net = layers(bias=bias)
    x = some((1, 8, 8), 40)
    file = OnnxFile.encode_int8(artifact_of(net, (1, 8, 8), 3), net, x)
    with torch.no_grad():
        want, have = net(x), Session(file.content)(x)
    assert (want - have).abs().max() <= 0.05 * want.abs().max()


def test_weights_are_on_the_grid_and_zero_is_exact() -> None:
    net, _ = exported("digits-cnn")
    model = export.trace(net, (1, 8, 8), fold=True)
    seen = ranges(model, [some((1, 8, 8), 20)])
    assert seen["images"] == (0.0, 1.0) and all(low <= 0 <= high for low, high in seen.values())
    quantize(model, seen)
    held = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    whole = [a for n, a in held.items() if n.endswith("floats")]
    assert len(whole) == sum(isinstance(m, nn.Conv2d | nn.Linear) for m in net.modules())
    for numbers in whole:
        assert np.array_equal(numbers, numbers.round()) and np.abs(numbers).max() <= 127
    zeros = [a for n, a in held.items() if n.endswith("~zero")]
    assert zeros and all(a.dtype == np.uint8 for a in zeros)


def test_bad_calibration_gets_one_sentence() -> None:
    net = models.build("digits-cnn").eval()
    artifact = artifact_of(net, (1, 8, 8))
    for images in (some((1, 8, 8), 0), some((1, 9, 9), 3)):
        with pytest.raises(ValueError, match=r"^The calibration images have the shape[^\n]+\.$"):
            OnnxFile.encode_int8(artifact, net, images)
    flat = nn.Sequential(nn.Flatten(), nn.ReLU())
    with pytest.raises(ValueError, match="no layer to quantise to eight bits"):
        OnnxFile.encode_int8(artifact_of(flat, (1, 2, 2), 4), flat, some((1, 2, 2), 3))


def test_another_function_is_refused() -> None:
    net, file = exported("digits-cnn")
    other = OnnxFile.encode(artifact_of(models.build("digits-cnn", seed=4), (1, 8, 8)), net)
    x = some((1, 8, 8), 100)
    seen = Agreement.of(Session(file.content), nn.Sequential(other.twin(), nn.ReLU()), [x])
    says = seen.complaint("net.onnx", True)
    assert says is not None and says.startswith("net.onnx computes different logits")
    assert Agreement(float("nan"), 1.0, 5, 5).complaint("it", True)
    assert Agreement(0.0, 1.0, 990, 1000).complaint("it", True)


def whole_numbers(model: onnx.ModelProto) -> list[np.ndarray]:
    return [numpy_helper.to_array(t) for t in model.graph.initializer if t.name.endswith("floats")]


def normed() -> nn.Module:
    """Batch-norm behind a convolution: its folding scales whole rows."""
    torch.manual_seed(0)
    inner = (nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, bias=False))
    return nn.Sequential(*inner, nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))


@pytest.mark.parametrize(
    ("build", "shape", "bits", "per_channel"),
    [
        (normed, (1, 8, 8), 3, False),
        (normed, (1, 8, 8), 4, True),
        (normed, (1, 8, 8), 8, False),
        (normed, (1, 8, 8), 8, True),
        (lambda: models.build("digits-cnn"), (1, 8, 8), 4, True),
        (lambda: models.build("resnet18:1"), (3, 32, 32), 3, True),
    ],
)
def test_a_weight_on_its_grid_exports_to_the_very_same_whole_numbers(
    build: Callable[[], nn.Module], shape: tuple[int, ...], bits: int, per_channel: bool
) -> None:
    """Through the folding of batch-norm, too."""
    net, made = alive(build()), UniformGrid(bits, per_channel)
    wanted = {}
    with torch.no_grad():
        for name, layer in net.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.weight.copy_(made.project({name: layer.weight})[name])
                rows = layer.weight.detach().flatten(1)
                whole = made.fit(layer.weight)[1].flatten(1).numpy().astype(int)
                shared = np.gcd.reduce(whole, axis=1, keepdims=True)
                wanted[name] = (whole // np.maximum(shared, 1)).reshape(layer.weight.shape)
                assert (wanted[name] != 0).any() and len(rows)
    model = export.trace(net, shape, fold=True)
    quantize(model, ranges(model, [some(shape, 20)]))
    have = [a.astype(int) for a in whole_numbers(model)]
    assert len(have) == len(wanted)
    for numbers in wanted.values():
        same = [np.array_equal(numbers, a) for a in have if a.shape == numbers.shape]
        assert any(same)
