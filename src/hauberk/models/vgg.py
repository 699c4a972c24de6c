"""VGG-16 in CIFAR form, with batch-norm and one linear layer.

Sources: Simonyan and Zisserman, 2015 (arXiv 1409.1556); width w as in Ye et al., 2019
(arXiv 1903.12561): 4w to 32w channels, so that w = 16 is the full network.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

_STAGES = ((4, 2), (8, 2), (16, 3), (32, 3), (32, 3))
"""Each stage, which ends with a pooling: channels per unit of width, number of convolutions."""


def vgg16(width: int = 16, classes: int = 10) -> nn.Sequential:
    """VGG-16: input 3 × 32 × 32, 14,724,042 parameters at width 16 and ten classes."""
    layers = OrderedDict[str, nn.Module]()
    before = 3
    for stage, (multiple, depth) in enumerate(_STAGES, 1):
        for i in range(1, depth + 1):
            layers[f"conv{stage}_{i}"] = nn.Conv2d(
                before, multiple * width, 3, padding=1, bias=False
            )
            layers[f"bn{stage}_{i}"] = nn.BatchNorm2d(multiple * width)
            layers[f"relu{stage}_{i}"] = nn.ReLU()
            before = multiple * width
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(before, classes)
    return nn.Sequential(layers)
