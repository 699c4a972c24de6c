"""A user's own network, of any family: trained, compressed, saved, loaded into a fresh one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import hauberk as hb
from hauberk.parametrize import Selection, matrices

QUICK = {
    "dense_epochs": 7, "epochs": 4, "codebook_epochs": 1, "lr": 0.01, "batch_size": 96,
    "attack_steps": 2,
}  # fmt: skip


class Vit(nn.Module):
    """Patches of 2 × 2, one attention block, positions from an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 32, 2, 2)
        self.place = nn.Embedding(16, 32)
        self.norm1, self.norm2 = nn.LayerNorm(32), nn.LayerNorm(32)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = x + self.place(torch.arange(x.shape[1], device=x.device))
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.mlp(self.norm2(x))
        return self.head(x.mean(1))


class Mobile(nn.Module):
    """Depthwise, then pointwise, with batch-norm; the first one dilated."""

    def __init__(self) -> None:
        super().__init__()

        def block(a: int, b: int, dilation: int = 1) -> list[nn.Module]:
            depth = nn.Conv2d(a, a, 3, padding=dilation, dilation=dilation, groups=a, bias=False)
            point = nn.Conv2d(a, b, 1, bias=False)
            return [depth, nn.BatchNorm2d(a), nn.ReLU(), point, nn.BatchNorm2d(b), nn.ReLU()]

        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.blocks = nn.Sequential(*block(16, 32, 2), nn.MaxPool2d(2), *block(32, 64))
        self.head = nn.Linear(64 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x).relu()).flatten(1))


class Tied(nn.Module):
    """One matrix, used on the way in and on the way out, under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.back = nn.Linear(64, 64), nn.Linear(64, 64)
        self.back.weight = self.into.weight
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.back(self.into(x.flatten(1)).relu()).relu())


class Sequence(nn.Module):
    """Convolutions along one axis, grouped in the middle, and a group norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(1, 16, 5, 2, 2), nn.Conv1d(16, 32, 5, 2, 2, groups=2)
        self.norm = nn.GroupNorm(4, 32)
        self.head = nn.Linear(32 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv2(self.conv1(x).relu())).relu().flatten(1))


class Residual(nn.Module):
    """As in timm: a stem, stages of blocks in nested containers, a shortcut by 1 × 1, a pool."""

    def __init__(self) -> None:
        super().__init__()

        class Block(nn.Module):
            def __init__(self, a: int, b: int, stride: int) -> None:
                super().__init__()
                self.conv1 = nn.Conv2d(a, b, 3, stride, 1, bias=False)
                self.conv2 = nn.Conv2d(b, b, 3, 1, 1, bias=False)
                self.bn1, self.bn2 = nn.BatchNorm2d(b), nn.BatchNorm2d(b)
                short = nn.Conv2d(a, b, 1, stride, bias=False)
                self.downsample = nn.Identity() if a == b else short

            def forward(self, x: Tensor) -> Tensor:
                y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
                return (y + self.downsample(x)).relu()

        self.stem = nn.Conv2d(1, 16, 3, 1, 1)
        self.layers = nn.ModuleList([Block(16, 16, 1), Block(16, 32, 2)])
        self.fc = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        return self.fc(x.mean((2, 3)))


def digits(shape: tuple[int, ...]) -> hb.Data:
    """The embedded digits, each as an input of this shape."""
    data = hb.data.load("digits")
    parts = {
        name: hb.dataset.Examples(part.x.reshape(-1, *shape), part.y)
        for name, part in (
            ("train", data.train),
            ("validation", data.validation),
            ("test", data.test),
        )
    }
    return hb.Data("digits", classes=10, **parts)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "shape"),
    [
        (Vit, (1, 8, 8)),
        (Mobile, (1, 8, 8)),
        (Tied, (1, 8, 8)),
        (Sequence, (1, 64)),
        (Residual, (1, 8, 8)),
    ],
)
def test_a_fresh_net_of_the_family_computes_what_the_file_holds(
    family: type[nn.Module], shape: tuple[int, ...], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    net, data = family(), digits(shape)
    made = hb.compress(
        net, data, method=hb.ATMC(keep=0.03).with_(**QUICK), threat=hb.Linf(0.05), out=tmp_path
    )
    torch.manual_seed(1)
    x = data.test.images()
    fresh = hb.load(made.path, model=family())
    with torch.no_grad():
        assert torch.equal(fresh(x), made.model(x))
        dense = (made.dense(x).argmax(1) == data.test.y).float().mean()
    assert dense > 0.8
    names = matrices(net)
    every, found = dict(net.named_parameters()), dict(fresh.named_parameters())
    kept = sum(int(torch.count_nonzero(found[name])) for name in names)
    assert 0 < kept <= 0.03 * sum(every[name].numel() for name in names)
    assert all(len(found[name].unique()) <= 17 for name in names)
    others = set(every) - set(names)
    assert others and all(found[name].any() for name in others if not name.endswith("bias"))


def test_what_multiplies_is_compressed_and_norms_are_not() -> None:
    assert matrices(Vit()) == [
        "patch.weight", "place.weight", "attention.in_proj_weight", "attention.out_proj.weight",
        "mlp.0.weight", "mlp.2.weight", "head.weight",
    ]  # fmt: skip
    assert matrices(Tied()) == ["into.weight", "head.weight"]
    assert "blocks.1.weight" not in matrices(Mobile())


def test_patterns_choose() -> None:
    net = Vit()
    assert Selection(include=("mlp.*", "head"))(net) == [
        "mlp.0.weight", "mlp.2.weight", "head.weight",
    ]  # fmt: skip
    assert Selection(exclude=("attention*", "p*"))(net) == Selection(("mlp.*", "head"))(net)
    assert Selection(("attention",))(net) == ["attention.in_proj_weight"]


@pytest.mark.slow
def test_what_is_excluded_stays(tmp_path: Path) -> None:
    torch.manual_seed(0)
    method = hb.ATMC(keep=0.1, exclude=("head", "stem")).with_(
        **{**QUICK, "dense_epochs": 1, "epochs": 1}
    )
    made = hb.compress(Mobile(), digits((1, 8, 8)), method=method, threat=hb.Linf(0.05))
    found = dict(made.model.named_parameters())
    assert found["head.weight"].count_nonzero() > 0.9 * found["head.weight"].numel()
    assert found["stem.weight"].unique().numel() > 17
    assert found["blocks.3.weight"].count_nonzero() < 0.5 * found["blocks.3.weight"].numel()


@pytest.mark.parametrize("family", [Vit, Tied, Residual])
def test_factors_of_any_family_are_the_same_function(family: type[nn.Module]) -> None:
    torch.manual_seed(0)
    net = family().eval()
    x = torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        before = net(x)
        hb.parametrize.factorise(net)
        torch.testing.assert_close(net(x), before, atol=1e-5, rtol=1e-4)
    shared = {name for name in matrices(net) if name.startswith("into")}
    assert shared == ({"into.weight"} if family is Tied else set())
