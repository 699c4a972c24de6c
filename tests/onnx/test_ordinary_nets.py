"""ONNX of nets with ordinary layers: written, the same in ONNX Runtime, replayed with gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.helpers.nets import artifact_of
from torch import Tensor, nn
from torch.nn import functional as F

import hauberk as hb
from hauberk.onnx.file import OnnxFile
from hauberk.runtime.notes import Note

pytestmark = pytest.mark.slow

SHAPE = (1, 8, 8)


class Block(nn.Module):
    """Pre-norm attention by `scaled_dot_product_attention`, then an MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv = heads, nn.Linear(width, 3 * width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        parts = self.qkv(self.norm1(x)).reshape(n, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        found = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, width)
        x = x + self.out(found)
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """Patches of 2 × 2, a class token, positions as a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 16, 2, 2)
        self.token = nn.Parameter(torch.randn(1, 1, 16) * 0.02)
        self.place = nn.Parameter(torch.randn(1, 17, 16) * 0.02)
        self.block, self.norm, self.head = Block(16, 2), nn.LayerNorm(16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.place
        return self.head(self.norm(self.block(x))[:, 0])


class Next(nn.Module):
    """As ConvNeXt: depthwise 7 × 7, a layer norm over channels, an inverted bottleneck, a scale."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depth = nn.Conv2d(1, 8, 2, 2), nn.Conv2d(8, 8, 7, padding=3, groups=8)
        self.norm, self.wide, self.slim = nn.LayerNorm(8), nn.Linear(8, 32), nn.Linear(32, 8)
        self.gamma, self.head = nn.Parameter(torch.full((8,), 0.1)), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm(self.depth(x).permute(0, 2, 3, 1))
        y = self.slim(F.gelu(self.wide(y))) * self.gamma
        return self.head((x + y.permute(0, 3, 1, 2)).mean((2, 3)))


class Cosine(nn.Module):
    """Chunks, slices, a stack, a padded shuffle, and a head of cosines."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(4, 8, 3, padding=1), nn.Linear(128, 16)
        self.classes = nn.Parameter(torch.randn(10, 16))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat(
            [x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1
        )
        a, b = self.conv(x).chunk(2, 1)
        x = torch.stack([a, b.sigmoid(), a * b], 1).amax(1)
        x = torch.cat([x, F.elu(x)], 1).flatten(1)
        return 10 * F.linear(F.normalize(self.fc(x)), F.normalize(self.classes))


def after(*layers: nn.Module, width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), *layers, nn.Flatten(), nn.Linear(width, 10))


class Rows(nn.Module):
    """The rows of an image as a sequence: a GRU in both directions, then an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(8, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.lstm, self.head = nn.LSTM(12, 7, batch_first=True), nn.Linear(7, 10)

    def forward(self, x: Tensor) -> Tensor:
        out, (last, _) = self.lstm(self.gru(x[:, 0])[0])
        return self.head(out[:, 2] + last[-1])


class Encoded(nn.Module):
    """Attention and an encoder of torch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        rows = x[:, 0]
        rows = rows + self.attend(rows, rows, rows, need_weights=False)[0]
        return self.head(self.encoder(rows).mean(1))


NETS: dict[str, Callable[[], nn.Module]] = {
    "vit": Vit,
    "convnext": Next,
    "cosine": Cosine,
    "rows": Rows,
    "encoded": Encoded,
    "activations": lambda: after(
        nn.PReLU(8), nn.SELU(), nn.Softplus(), nn.Mish(), nn.Hardsigmoid(), width=512
    ),
    "norms": lambda: after(
        nn.GroupNorm(2, 8), nn.InstanceNorm2d(8), nn.LayerNorm((8, 8, 8)), nn.SiLU(), width=512
    ),
    "up": lambda: after(
        nn.ConvTranspose2d(8, 8, 2, 2), nn.PixelShuffle(2), nn.Upsample(scale_factor=0.5),
        nn.Hardswish(), nn.AdaptiveAvgPool2d(2), width=8,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_the_twin_has_the_logits_and_the_gradient(name: str) -> None:
    torch.manual_seed(0)
    net = NETS[name]().eval()
    file = OnnxFile.encode(artifact_of(net, SHAPE, classes=10), net)
    assert file.blind == ""
    x = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    want, have = net(x), file.twin()(x)
    assert (have - want).abs().max() <= 1e-5 * want.abs().max()
    (true,) = torch.autograd.grad(want.square().sum(), x)
    (ours,) = torch.autograd.grad(have.square().sum(), x)
    assert (ours - true).abs().max() <= 1e-4 * true.abs().max()


def test_a_recurrent_net_computes_in_eight_bits() -> None:
    torch.manual_seed(0)
    net = Rows().eval()
    images = torch.rand(50, *SHAPE, generator=torch.Generator().manual_seed(0))
    file = OnnxFile.encode_int8(artifact_of(net, SHAPE, classes=10), net, images)
    assert file.int8 and not file.blind
    assert (file.twin()(images) - net(images)).abs().max() <= 0.05 * net(images).abs().max()


@pytest.mark.parametrize("family", [Vit, Next])
def test_a_transformer_and_a_convnext_go_the_whole_way(
    family: type[nn.Module], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    data = hb.data.load("digits")
    method = hb.ATMC(keep=0.2, codebook_epochs=1).with_(epochs=1, dense_epochs=1, attack_steps=1)
    made = hb.compress(family(), data, method=method, threat=hb.Linf(0.05), out=tmp_path)
    ask = {"threat": hb.Linf(0.05), "attack": "pgd:3", "limit": 40, "checks": False}
    (want,) = hb.evaluate(made.path, data, model=family(), **ask).rows
    for format in ("onnx", "onnx-int8"):
        out = tmp_path / f"{format}.onnx"
        hb.export(made.path, format, out=out, data=data, model=family())
        (row,) = hb.evaluate(out, data, **ask).rows
        assert row.white_box
        assert abs(row.clean.accuracy - want.clean.accuracy) <= 0.1


def test_what_has_no_replay_is_written_and_said(tmp_path: Path) -> None:
    class Strange(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(torch.atan(x).flatten(1))

    artifact_of(Strange(), SHAPE, classes=10).save(tmp_path / "m.hbk")
    with pytest.warns(Note, match="as a black box, without gradients: its graph uses the operator"):
        hb.export(tmp_path / "m.hbk", model=Strange())
    data = hb.data.load("digits")
    ask = {"threat": hb.Linf(0.05), "attack": "pgd:3", "limit": 20, "checks": False}
    (row,) = hb.evaluate(tmp_path / "m.onnx", data, **ask).rows
    assert not row.white_box
