"""LeNets: small convolutional networks for digits, as sequences of named torch layers.

Sources: Caffe's LeNet as in ATMC (Gui et al., 2019, arXiv 1902.03538, §4); LeNet of width w as in
Ye, Xu, Liu et al. (2019, arXiv 1903.12561, Table 2). Both after LeCun et al. (1998).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def caffe_lenet(classes: int = 10) -> nn.Sequential:
    """Caffe's LeNet: input 1 × 28 × 28, 430,500 weights at ten classes; one ReLU, after fc1."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(1, 20, 5),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(20, 50, 5),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(800, 500),
            relu=nn.ReLU(),
            fc2=nn.Linear(500, classes),
        )
    )


def lenet(width: int, classes: int = 10) -> nn.Sequential:
    """LeNet: input 1 × 28 × 28, with 2 · width and 4 · width filters, 64 · width hidden units."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(1, 2 * width, 5, padding=2),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(2 * width, 4 * width, 5, padding=2),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(49 * 4 * width, 64 * width),
            relu3=nn.ReLU(),
            fc2=nn.Linear(64 * width, classes),
        )
    )


def digits_cnn(classes: int = 10) -> nn.Sequential:
    """The demo's network: input 1 × 8 × 8, 141,930 parameters at ten classes."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(1, 16, 3, padding=1),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(16, 64, 3, padding=1),
            relu2=nn.ReLU(),
            pool=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(1024, 128),
            relu3=nn.ReLU(),
            fc2=nn.Linear(128, classes),
        )
    )
