"""A user's own network: a small MobileNet, for images that are normalised already."""

from __future__ import annotations

from torch import Tensor, nn


def conv(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution, its batch norm and an activation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    )


class Inverted(nn.Module):
    """MobileNet's block: a wide pointwise, a depthwise and a narrow pointwise convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int, wide: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(inputs, wide * inputs, 1),
            conv(wide * inputs, wide * inputs, 3, stride, groups=wide * inputs),
            nn.Conv2d(wide * inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.short = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """The block, with a shortcut where the shapes allow it."""
        out: Tensor = self.body(x)
        return x + out if self.short else out


class Mobile(nn.Module):
    """About 22,000 weights; six classes."""

    def __init__(self, classes: int = 6) -> None:
        super().__init__()
        plan = ((16, 16, 1), (16, 24, 2), (24, 40, 2), (40, 40, 1))
        self.features = nn.Sequential(conv(3, 16, 3, 2), *(Inverted(*step) for step in plan))
        self.head = nn.Linear(40, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, from the mean over all pixels."""
        logits: Tensor = self.head(self.features(x).mean((2, 3)))
        return logits


def mobile() -> nn.Module:
    """The network that ``--model mynets:mobile`` names."""
    return Mobile()
