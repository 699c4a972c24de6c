"""Residual networks in CIFAR form: a 3 × 3 stem without pooling, three or four stages of blocks.

Sources: He et al., 2016 (arXiv 1512.03385), in the four-stage form of the robustness papers; Wide
ResNets, Zagoruyko and Komodakis, 2016 (arXiv 1605.07146). Width w as in Ye et al., 2019
(arXiv 1903.12561): 4w, 8w, 16w and 32w channels, so that w = 16 is the full network.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

_DEEPEST = 1000
"""Largest depth: a damaged file may name any depth, and building a layer takes time."""


class BasicBlock(nn.Module):
    """``relu( shortcut(x) + bn(conv(relu(bn(conv(x))))) )``, both kernels 3 × 3."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            project = nn.Conv2d(before, after, 1, stride, bias=False)
            self.shortcut = nn.Sequential(
                OrderedDict[str, nn.Module](conv=project, bn=nn.BatchNorm2d(after))
            )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, before, height, width) to (batch, after, height / stride, width / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class WideBlock(nn.Module):
    """``shortcut(x) + conv(relu(bn(conv(relu(bn(x))))))``, a pre-activation block."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(before)
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.shortcut: nn.Module | None = None
        if before != after:
            self.shortcut = nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, before, height, width) to (batch, after, height / stride, width / stride)."""
        ready = F.relu(self.bn1(x))
        through = x if self.shortcut is None else self.shortcut(ready)
        out: Tensor = self.conv2(F.relu(self.bn2(self.conv1(ready))))
        return out + through


def resnet18(width: int = 16, classes: int = 10) -> nn.Sequential:
    """ResNet-18: input 3 × 32 × 32, 11,173,962 parameters at width 16 and ten classes."""
    return _resnet((2, 2, 2, 2), width, classes)


def resnet34(width: int = 16, classes: int = 10) -> nn.Sequential:
    """ResNet-34: input 3 × 32 × 32, 21,282,122 parameters at width 16 and ten classes."""
    return _resnet((3, 4, 6, 3), width, classes)


def wrn(depth: int = 28, width: int = 10, classes: int = 10) -> nn.Sequential:
    """Wide ResNet: input 3 × 32 × 32, 36,479,194 parameters at depth 28, width 10, ten classes.

    Args:
        depth: number of layers, 6n + 4, from 10 to 1,000.
        width: widening factor; the stages have 16, 32 and 64 times as many channels.
        classes: number of outputs.

    Raises:
        ValueError: the depth is not 6n + 4, or above 1,000.
    """
    if not 10 <= depth <= _DEEPEST or (depth - 4) % 6:
        raise ValueError(
            f"There is no Wide ResNet of depth {depth}: give 10, 16, 22, 28, … up to {_DEEPEST}."
        )
    layers = OrderedDict[str, nn.Module](conv=nn.Conv2d(3, 16, 3, padding=1, bias=False))
    before = 16
    for stage, after in enumerate((16 * width, 32 * width, 64 * width)):
        layers |= _stage(WideBlock, stage, (depth - 4) // 6, before, after)
        before = after
    layers |= {"bn": nn.BatchNorm2d(before), "relu": nn.ReLU(), **_head(before, classes)}
    return nn.Sequential(layers)


def _resnet(depths: Sequence[int], width: int, classes: int) -> nn.Sequential:
    before = 4 * width
    layers = OrderedDict[str, nn.Module](
        conv=nn.Conv2d(3, before, 3, padding=1, bias=False),
        bn=nn.BatchNorm2d(before),
        relu=nn.ReLU(),
    )
    for stage, depth in enumerate(depths):
        after = 4 * width << stage
        layers |= _stage(BasicBlock, stage, depth, before, after)
        before = after
    return nn.Sequential(layers | _head(before, classes))


def _stage(
    kind: type[BasicBlock] | type[WideBlock], stage: int, depth: int, before: int, after: int
) -> dict[str, nn.Module]:
    """The blocks of one stage; every stage but the first halves the image."""
    return {
        f"stage{stage + 1}_{i + 1}": kind(
            after if i else before, after, 2 if stage and not i else 1
        )
        for i in range(depth)
    }


def _head(channels: int, classes: int) -> dict[str, nn.Module]:
    return {
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(channels, classes),
    }
