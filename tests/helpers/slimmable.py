"""Networks with dead channels, and what a slim one must share with them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.models import FAMILIES


class Residual(nn.Module):
    """What a user may write: an addition, batch-norm, functional layers, a flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.inner = nn.Conv2d(8, 6, 3, padding=1, bias=False)
        self.inner_norm = nn.BatchNorm2d(6)
        self.outer = nn.Conv2d(6, 8, 1)
        self.hidden = nn.Linear(8 * 16, 20)
        self.head = nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        inner = F.leaky_relu(self.inner_norm(self.inner(x)))
        x = F.max_pool2d(F.relu(x + self.outer(inner)), 2)
        return self.head(torch.tanh(self.hidden(x.flatten(1))))


class Branches(nn.Module):
    """Concatenation, a depthwise convolution, a grouped one."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(1, 8, 3)
        self.right = nn.Conv2d(1, 6, 3)
        self.depthwise = nn.Conv2d(14, 14, 3, groups=14)
        self.point = nn.Conv2d(14, 12, 1)
        self.grouped = nn.Conv2d(12, 8, 3, padding=1, groups=2)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([F.relu(self.left(x)), F.gelu(self.right(x))], 1)
        x = F.relu(self.point(F.silu(self.depthwise(x))))
        return self.head(self.grouped(x).mean((2, 3)))


class Small(nn.Module):
    """A first layer of eight channels, a second of eight, and whatever stands between them."""

    def __init__(self, between: Callable[[Tensor], Tensor] = F.relu) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8, 5)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.between(self.first(x))).mean((2, 3)))


def inputs(shape: tuple[int, ...], count: int = 8) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(7))


@torch.no_grad()
def randomised(net: nn.Module, seed: int = 0) -> nn.Module:
    """Random biases, statistics and affine values, so that a dead channel's constant is not 0.

    The weights are large enough that a deep net still looks at its input when half of it is gone.
    """
    rng = torch.Generator().manual_seed(seed)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.normal_(0, 2 / layer.weight[0].numel() ** 0.5, generator=rng)
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.2, generator=rng)
            layer.running_var.uniform_(0.5, 1.5, generator=rng)
            layer.weight.uniform_(0.5, 1.5, generator=rng)
        if getattr(layer, "bias", None) is not None:
            layer.bias.normal_(0, 0.3, generator=rng)
    return net.eval()


@torch.no_grad()
def killed(net: nn.Module, seed: int = 1) -> nn.Module:
    """Random filters, input channels and batch-norm scales are zero."""
    rng = torch.Generator().manual_seed(seed)
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    for layer in layers[:-1]:
        layer.weight[torch.rand(len(layer.weight), generator=rng) < 0.3] = 0
    for layer in layers[1:]:
        layer.weight[:, torch.rand(layer.weight.shape[1], generator=rng) < 0.2] = 0
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight[torch.rand(layer.num_features, generator=rng) < 0.2] = 0
    return net


def widths(net: nn.Module) -> dict[str, tuple[int, ...]]:
    return {n: tuple(p.shape) for n, p in net.named_parameters() if p.ndim > 1}


def example(net: nn.Module) -> Tensor:
    named = getattr(net, "architecture", None)
    return torch.zeros(1, *(FAMILIES[named[0]].input_shape if named else (1, 8, 8)))


def size(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@torch.no_grad()
def check_equal(small: nn.Module, net: nn.Module) -> None:
    x = inputs(tuple(example(net).shape[1:]))
    have, want = small(x), net(x)
    assert (want - want[:1]).abs().max() > 1e-2 * want.abs().max()  # it looks at its input
    assert (have - want).abs().max() <= 1e-5 * want.abs().max()


def chain(padding: int = 0, mode: str = "zeros", bias: bool = False) -> nn.Sequential:
    """Channels 0 to 2 of the first layer are dead, and give 1, 2 and 3."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 4, 3, padding=padding, padding_mode=mode, bias=bias),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.Linear(4 * (64 if padding else 36), 5),
    )
    randomised(net)
    with torch.no_grad():
        net[0].weight[:3] = 0
        net[0].bias[:3] = torch.tensor([1.0, 2.0, 3.0])
    return net
