"""Image-to-image networks: CycleGAN's residual generator and a small pix2pix U-Net.

Input and output images are in [0, 1], hauberk's pixel units. Inside, as in the papers, images are
in [−1, 1] and the last layer is a tanh. Image sizes are multiples of 4 (residual generator) or of
2^levels (U-Net).

Sources: Johnson et al. (2016, arXiv 1603.08155), as in CycleGAN (Zhu et al., 2017, arXiv
1703.10593); pix2pix (Isola et al., 2017, arXiv 1611.07004). Norms are affine instance norms: their
scales are what GAN Slimming (Wang et al., 2020, arXiv 2008.11062) prunes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hauberk.types import Images


class ResidualBlock(nn.Module):
    """``x + norm(conv(relu(norm(conv(x)))))``, reflection-padded.

    Args:
        channels: number of input and of output channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels, affine=True),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels, affine=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The sum; same shape."""
        inner: Tensor = self.block(x)
        return x + inner


class ResidualGenerator(nn.Module):
    """A stem, two downsamplings, residual blocks, two upsamplings, and a head with tanh.

    The layers are in ``model`` in the order of CycleGAN's published code, so that state dicts of
    generators with affine instance norms load by name.

    Args:
        width: filters of the stem; 64 in the paper.
        blocks: residual blocks; 9 in the paper for 256 × 256 images.
        channels: channels of the input and output images.
    """

    def __init__(self, width: int, blocks: int, channels: int) -> None:
        super().__init__()
        w = width
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3),
            *_normed(nn.Conv2d(channels, w, 7)),
            *_normed(nn.Conv2d(w, 2 * w, 3, stride=2, padding=1)),
            *_normed(nn.Conv2d(2 * w, 4 * w, 3, stride=2, padding=1)),
            *(ResidualBlock(4 * w) for _ in range(blocks)),
            *_normed(nn.ConvTranspose2d(4 * w, 2 * w, 3, 2, padding=1, output_padding=1)),
            *_normed(nn.ConvTranspose2d(2 * w, w, 3, 2, padding=1, output_padding=1)),
            nn.ReflectionPad2d(3),
            nn.Conv2d(w, channels, 7),
            nn.Tanh(),
        )

    def forward(self, x: Images) -> Images:
        """Map (batch, channel, height, width) in [0, 1] to the same; sizes are multiples of 4."""
        image: Tensor = self.model(2 * x - 1)
        return (image + 1) / 2


class UNet(nn.Module):
    """Downsamplings, then as many upsamplings with skip connections.

    Args:
        width: filters of the first level; level i has ``width · 2^min(i, 3)``.
        levels: number of downsamplings.
        channels: channels of the input and output images.
    """

    def __init__(self, width: int, levels: int, channels: int) -> None:
        super().__init__()
        sizes = [width * 2 ** min(i, 3) for i in range(levels)]
        self.down = nn.ModuleList(
            nn.Sequential(*_normed(nn.Conv2d(a, b, 4, stride=2, padding=1)))
            for a, b in zip([channels, *sizes], sizes, strict=False)
        )
        self.up = nn.ModuleList(
            nn.Sequential(*_normed(nn.ConvTranspose2d(a, b, 4, stride=2, padding=1)))
            for a, b in zip(
                [sizes[-1], *(2 * s for s in sizes[-2::-1])], [*sizes[-2::-1], width], strict=True
            )
        )
        self.head = nn.Conv2d(width, channels, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Images) -> Images:
        """Map (batch, channel, height, width) in [0, 1] to the same; sizes divide by 2^levels."""
        x = 2 * x - 1
        levels = []
        for down in self.down:
            x = down(x)
            levels.append(x)
        for i, up in enumerate(self.up):
            x = up(x if i == 0 else torch.cat([x, levels[-1 - i]], 1))
        image: Tensor = self.head(x).tanh()
        return (image + 1) / 2


def cyclegan_resnet9(width: int = 64, blocks: int = 9, channels: int = 3) -> ResidualGenerator:
    """CycleGAN's generator: 11,388,675 parameters at width 64.

    Args:
        width: filters of the stem.
        blocks: residual blocks.
        channels: channels of the input and output images.
    """
    return ResidualGenerator(width, blocks, channels)


def pix2pix_unet(width: int = 16, levels: int = 4, channels: int = 3) -> UNet:
    """A small U-Net for images of at least 2^(levels + 1) pixels per side.

    Args:
        width: filters of the first level.
        levels: number of downsamplings.
        channels: channels of the input and output images.
    """
    return UNet(width, levels, channels)


def _normed(layer: nn.Conv2d | nn.ConvTranspose2d) -> tuple[nn.Module, nn.Module, nn.Module]:
    """The convolution, an affine instance norm and a ReLU."""
    return layer, nn.InstanceNorm2d(layer.out_channels, affine=True), nn.ReLU()
