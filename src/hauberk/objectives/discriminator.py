"""PatchGAN: a discriminator that judges overlapping patches of an image.

Source: pix2pix (Isola et al., 2017, arXiv 1611.07004), §3.2.2, as CycleGAN uses it: no sigmoid at
the end (least squares), no norm on the first layer.
"""

from __future__ import annotations

from torch import nn


def patch_discriminator(width: int = 64, levels: int = 3, channels: int = 3) -> nn.Sequential:
    """One number for each patch; at three levels a patch has 70 pixels a side.

    Args:
        width: filters of the first layer; level i has ``width · 2^min(i, 3)``.
        levels: layers that halve the image.
        channels: of the images.
    """
    sizes = [width * 2 ** min(i, 3) for i in range(levels + 1)]
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1)]
    for i in range(levels):
        stride = 2 if i + 1 < levels else 1
        layers += [nn.LeakyReLU(0.2), nn.Conv2d(sizes[i], sizes[i + 1], 4, stride, padding=1)]
        layers.append(nn.InstanceNorm2d(sizes[i + 1]))
    return nn.Sequential(*layers, nn.LeakyReLU(0.2), nn.Conv2d(sizes[-1], 1, 4, padding=1))
