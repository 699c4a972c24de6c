"""Networks from images to images with random norms and dead channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHAPE = (3, 32, 32)


class Own(nn.Module):
    """What a user may write: group-norm, a transposed convolution whose kernel is its stride."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.norm = nn.GroupNorm(4, 12)
        self.inner = nn.Conv2d(12, 8, 3, stride=2, padding=1)
        self.inner_norm = nn.GroupNorm(8, 8)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.up_norm = nn.BatchNorm2d(6)
        self.head = nn.Conv2d(6, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.norm(self.stem(x)), 0.2)
        x = F.relu(self.inner_norm(self.inner(x)))
        return torch.tanh(self.head(F.relu(self.up_norm(self.up(x)))))


def norms(net: nn.Module) -> dict[str, nn.Module]:
    """The norms of a network, by name."""
    kinds = nn.InstanceNorm2d | nn.GroupNorm | nn.BatchNorm2d
    return {name: m for name, m in net.named_modules() if isinstance(m, kinds)}


def scrambled(net: nn.Module) -> nn.Module:
    """Scales that are no ones, shifts that are no zeros, statistics of batch-norm, too."""
    torch.manual_seed(0)
    for norm in norms(net).values():
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias)
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    return net.eval()


@torch.no_grad()
def killed(net: nn.Module, dead: dict[str, list[int] | None]) -> nn.Module:
    """The net with these scales at zero; all of a layer's for None."""
    for name, channels in dead.items():
        scale = net.get_submodule(name).weight
        scale[slice(None) if channels is None else channels] = 0
    return net
